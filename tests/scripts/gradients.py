# Functions with gradients of their own, hooks, what is refused in place, closures.
torch.manual_seed(0)


class MySin(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, k):
        ctx.save_for_backward(x)
        ctx.k = k
        return torch.sin(k * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.k * torch.cos(ctx.k * x), None


class STE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad_output):
        return F.hardtanh(grad_output)


x = torch.linspace(-1, 1, 5, requires_grad=True)
y = MySin.apply(x, 2.0)
y.sum().backward()
print(y, x.grad)
print(
    torch.autograd.gradcheck(lambda z: MySin.apply(z, 3.0), (torch.randn(4, dtype=torch.double, requires_grad=True),))
)
z = STE.apply(x)
print(z, z.grad_fn is not None)
(g,) = torch.autograd.grad(z, x, torch.full_like(z, 3.0))
print(g)
w = torch.randn(3, 3, requires_grad=True)


def hook(grad):
    print("hook", grad.norm())
    return grad * 2


h = w.register_hook(hook)
(w**2).sum().backward()
h.remove()
print(torch.allclose(w.grad, 4 * w), w.grad.shape)
w.grad.zero_()
a = torch.tensor([1.0, 2.0], requires_grad=True)
b = a * 2
b.retain_grad()
c = (b**2).sum()
c.backward(retain_graph=True)
print(a.grad, b.grad)
c.backward()
print(a.grad)
try:
    c.backward()
except RuntimeError as e:
    print("RuntimeError", "second time" in str(e))
with torch.no_grad():
    a -= 0.1 * a.grad
    a.grad = None
print(a, a.requires_grad, a.is_leaf, a.grad)
v = torch.ones(3, requires_grad=True)
s = v.exp()
try:
    s += 1
    s.sum().backward()
except RuntimeError as e:
    print("RuntimeError", "inplace" in str(e) or "in-place" in str(e) or "in place" in str(e))
try:
    v += 1
except RuntimeError as e:
    print("leaf", "leaf" in str(e))
p = torch.nn.Parameter(torch.randn(2, 2))
print(p)
print(torch.autograd.functional.jacobian(lambda t: t**2, torch.tensor([1.0, 2.0])))
hess = torch.autograd.grad((p**3).sum(), p, create_graph=True)[0]
print(torch.autograd.grad(hess.sum(), p)[0].detach())


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


model = nn.Sequential(nn.Linear(2, 3), Swish(), nn.Linear(3, 1))
acts = {}


def save(name):
    def f(module, inp, out):
        acts[name] = out.detach()

    return f


for n, mod in model.named_children():
    mod.register_forward_hook(save(n))
out = model(torch.ones(1, 2))
print({k: v.shape for k, v in acts.items()}, out.detach())
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)


def closure():
    opt.zero_grad()
    loss = F.mse_loss(model(torch.ones(1, 2)), torch.zeros(1, 1))
    loss.backward()
    return loss


for _ in range(3):
    print(opt.step(closure).item())
lb = torch.optim.LBFGS(model.parameters(), max_iter=3)


def closure():
    lb.zero_grad()
    loss = F.mse_loss(model(torch.ones(1, 2)), torch.zeros(1, 1))
    loss.backward()
    return loss


print(f"{lb.step(closure).item():.4f}")
for name, param in model.named_parameters():
    print(name, param.requires_grad, param.grad is not None, param.shape)
