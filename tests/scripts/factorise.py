# Matrix factorisation in PyTorch's words only: a Dataset of one's own, biases, sparse ratings, two optimizers, a check.
Dataset, DataLoader = torch.utils.data.Dataset, torch.utils.data.DataLoader

torch.manual_seed(5)
people, films, rank = 20, 15, 3
truth = torch.randn(people, rank) @ torch.randn(rank, films) * 0.5 + 3
seen = torch.rand(people, films) < 0.6
rows, columns = torch.nonzero(seen, as_tuple=True)
print(len(rows), truth[seen].mean(), truth.clamp(1, 5).std(dim=0)[:3], seen.sum(dim=1)[:5])


class Ratings(Dataset):
    def __init__(self, rows, columns, values):
        self.rows, self.columns, self.values = rows, columns, values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, place):
        return self.rows[place], self.columns[place], self.values[place]


class Factors(nn.Module):
    def __init__(self):
        super().__init__()
        self.person, self.film = nn.Embedding(people, rank), nn.Embedding(films, rank)
        self.biases = nn.ParameterDict({"person": torch.zeros(people), "film": torch.zeros(films)})
        self.middle = nn.Parameter(torch.tensor(3.0))
        for table in (self.person, self.film):
            nn.init.uniform_(table.weight, -0.3, 0.3)

    def forward(self, row, column):
        product = torch.sum(self.person(row) * self.film(column), dim=1)
        return self.middle + product + self.biases["person"][row] + self.biases["film"][column]


order = torch.randperm(len(rows))
train, test = order[:-30], order[-30:]
values = truth[rows, columns]
data = Ratings(rows[train], columns[train], values[train])
loader = DataLoader(data, batch_size=50, shuffle=True, drop_last=True)
for name in ("SGD", "RMSprop"):
    torch.manual_seed(6)
    model = Factors()
    options = {"momentum": 0.9, "nesterov": True} if name == "SGD" else {"alpha": 0.9}
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.05, weight_decay=1e-4, **options)
    steps = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.5)
    for epoch in range(8):
        errors = []
        for row, column, value in loader:
            optimizer.zero_grad()
            guess = model(row, column)
            loss = F.mse_loss(guess, value) + 1e-3 * model.person.weight.pow(2).mean()
            loss.backward()
            optimizer.step()
            errors.append(loss.detach())
        steps.step()
        if epoch % 3 == 1:
            print(name, epoch, torch.stack(errors).mean(), steps.get_last_lr())
    model.eval()
    with torch.no_grad():
        guess = model(rows[test], columns[test])
        both = torch.stack([guess, values[test]])
        print(f"{F.l1_loss(guess, values[test]):.3f}", guess[:4], torch.corrcoef(both)[0, 1])
        everything = model.person.weight @ model.film.weight.T
        everything += model.biases["person"][:, None] + model.biases["film"]
        everything[seen] = float("-inf")
        best = everything.argsort(dim=1, descending=True)[:, :2]
        print(best.shape, everything.isinf().sum(), F.cosine_similarity(model.film.weight[:1], model.film.weight[1:4]))
