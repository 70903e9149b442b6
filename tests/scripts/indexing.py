# Reading and writing by every kind of index, counting, and views that share what is written.
import numpy as np

torch.manual_seed(5)
x = torch.arange(24, dtype=torch.float32).view(2, 3, 4)
x[:, 1, ::2] = -1
x[0, :, -1] *= 10
x[x < 0] = 0.5
x[torch.tensor([0, 1]), torch.tensor([2, 0])] = torch.zeros(4)
print(x)
x[..., 0] += torch.tensor([1.0, 2.0, 3.0])
mask = torch.zeros(2, 3, dtype=torch.bool)
mask[0, 1] = True
mask[1] = torch.tensor([True, False, True])
x[mask] = torch.randn(3, 4).round(decimals=2)
print(x, x[mask].mean(dim=1), mask.nonzero(), mask.sum())
idx = x.sum(-1).argsort(dim=1, descending=True)
print(torch.gather(x, 1, idx[..., None].expand(-1, -1, 4)))
y = x.view(6, 4)
y[0] = 100
print(x[0, 0], y.shape, x.flatten()[:5].tolist())
boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [4.0, 4.0, 5.0, 5.0]])


def iou(a, b):
    lt = torch.max(a[:, None, :2], b[None, :, :2])
    rb = torch.min(a[:, None, 2:], b[None, :, 2:])
    wh = (rb - lt).clamp(min=0)
    inter = wh[..., 0] * wh[..., 1]

    def area(t):
        return (t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1])

    return inter / (area(a)[:, None] + area(b)[None] - inter)


print(iou(boxes, boxes))
counts = torch.zeros(5, dtype=torch.long)
labels = torch.randint(0, 5, (20,))
counts.scatter_add_(0, labels, torch.ones_like(labels))
print(counts, torch.bincount(labels, minlength=5), torch.unique(labels, return_counts=True))
means = torch.zeros(5, 3).index_add_(0, labels, torch.ones(20, 3)) / counts.clamp(min=1).unsqueeze(1)
print(means[:, 0], labels.eq(2).any().item(), (labels == labels[0]).float().mean())
emb = F.one_hot(labels[:3], 5).float()
dist = torch.cdist(emb, emb, p=2)
dist.fill_diagonal_(float("inf"))
print(dist, dist.min(dim=1).indices, dist.topk(2, largest=False).values)
a = np.linspace(0, 1, 5)
t = torch.from_numpy(a).float()
t[1:3], t[-1] = torch.tensor([9.0, 8.0]), 7
print(t, t.numpy().sum(), torch.tensor(a).dtype, np.concatenate([t, t]).shape)
q = torch.zeros(3, 3)
q[range(3), range(3)] = 1
q[[0, 1], [1, 2]] = torch.tensor([5.0, 6.0])
q[2, :2], q[0] = 3, q[0] * 2
print(q, q.T.tolist(), q.diag(), q.triu(1).nonzero(as_tuple=True))
z = torch.randn(4, 3)
z[torch.isnan(z) | (z > 0.5)] = 0
z[:, None].squeeze(1)[0, 0] = 42.0
del a
for i, row in enumerate(z):
    print(i, row)
w = z.clone()
w.view(-1)[::2].zero_()
w.T[1].add_(1)
print(w, w.unfold(0, 2, 1).shape, torch.roll(w, 1, 0)[0], w.chunk(2)[1].sum().item())
a, b = torch.split(w, [1, 3])
a.mul_(0)
print(w[0], torch.cat([b, a])[-1], torch.stack(list(w.unbind(0)), 1).shape)
