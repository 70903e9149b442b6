# A small language model over words, in PyTorch's words only: embeddings, a window of words, sampling, a state_dict.
torch.manual_seed(3)
text = """the cat sat on the mat . the dog sat on the log . a cat saw a dog . the dog saw the cat .
a bird sat on the log . the bird saw a mat . the cat and the dog sat . a dog and a bird saw the cat ."""
words = text.split()
vocabulary = sorted(set(words))
number = {word: place for place, word in enumerate(vocabulary)}
stream = torch.tensor([number[word] for word in words], dtype=torch.long)
window = 3
contexts = stream.unfold(0, window, 1)[:-1]
targets = stream[window:]
print(len(vocabulary), contexts.shape, targets.dtype, contexts[:2], torch.bincount(stream))


class Model(nn.Module):
    def __init__(self, size, hidden):
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary), size)
        self.position = nn.Parameter(torch.zeros(window, size))
        self.hidden = nn.Linear(window * size, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, len(vocabulary), bias=False)
        self.register_buffer("mask", torch.tril(torch.ones(window, window)))
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, contexts):
        x = self.embedding(contexts) + self.position
        scores = (x @ x.transpose(-2, -1) / x.size(-1) ** 0.5).masked_fill(self.mask == 0, float("-inf"))
        x = x + F.softmax(scores, dim=-1) @ x
        return self.out(F.gelu(self.norm(self.hidden(x.flatten(1)))))


model = Model(12, 24)
decayed = [p for name, p in model.named_parameters() if p.dim() > 1]
plain = [p for name, p in model.named_parameters() if p.dim() <= 1]
groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
optimizer = torch.optim.Adam(groups, lr=0.02, betas=(0.9, 0.95))
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 5))
for step in range(24):
    places = torch.randint(0, len(targets), (16,))
    loss = F.cross_entropy(model(contexts[places]), targets[places], label_smoothing=0.1)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    if step % 6 == 5:
        print(step, f"{loss.item():.3f} {norm.item():.3f} {optimizer.param_groups[0]['lr']:.4f}")
copy = Model(12, 24)
print(copy.load_state_dict(model.state_dict()), [name for name, _ in copy.named_buffers()])
copy.eval()
with torch.no_grad():
    both = copy(contexts[:4]), model(contexts[:4])
    print(torch.allclose(both[0], both[1]), both[0].log_softmax(-1).gather(1, targets[:4, None]).squeeze(1))
    sentence = [number["the"], number["cat"], number["sat"]]
    for _ in range(5):
        logits = copy(torch.tensor([sentence[-window:]]))[0]
        best, places = torch.topk(logits, 3)
        sentence.append(int(places[best.argmax()]))
    print(" ".join(vocabulary[place] for place in sentence))
    perplexity = F.cross_entropy(copy(contexts), targets).exp()
    print(f"perplexity {perplexity:.3f}", (copy(contexts).argmax(-1) == targets).sum().item() > 20)
