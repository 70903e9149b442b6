# A training script in PyTorch's words only. The test runs it as it stands, and with netcl in torch's place.
torch.manual_seed(0)
x = torch.randn(240, 8)
y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).long() + (x[:, 3] > 0.5).long()
print(x.shape, y.dtype, x[0, :3], y[:10].tolist())


class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.first = nn.Linear(8, hidden)
        self.rest = nn.Sequential(nn.ReLU(), nn.Dropout(p=0.0), nn.LayerNorm(hidden), nn.Linear(hidden, 3))

    def forward(self, inputs):
        return self.rest(self.first(inputs))


device = "cuda" if torch.cuda.is_available() else "cpu"
model = Net(32).to(device)
print(model)
print(sum(p.numel() for p in model.parameters() if p.requires_grad), "parameters")
dataset = torch.utils.data.TensorDataset(x, y)
training, held_out = torch.utils.data.random_split(dataset, [200, 40])
loader = torch.utils.data.DataLoader(training, batch_size=32, shuffle=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)
for epoch in range(5):
    model.train()
    total = 0.0
    for inputs, targets in loader:
        inputs, targets = inputs.to(device), targets.to(device)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.8)
        optimizer.step()
        total += loss.item() * len(inputs)
    scheduler.step()
    print(f"epoch {epoch}: loss {total / len(training):.4f}, norm {norm:.3f}, lr {scheduler.get_last_lr()[0]:.6f}")
model.eval()
with torch.no_grad():
    inputs, targets = torch.stack([held_out[i][0] for i in range(len(held_out))]), y[held_out.indices]
    logits = model(inputs)
    guesses = logits.argmax(dim=1)
    print("accuracy", (guesses == targets).float().mean().item(), guesses[:8])
    print(logits[:1].softmax(dim=1).cpu().numpy(), torch.cat([logits[:2], logits[-1:]]).max(dim=1).values)
print({name: tuple(value.shape) for name, value in model.state_dict().items()})
