# Learning from rewards in PyTorch's words only: a target network, replayed steps, states that are blended, a policy.
import math
import random
from collections import deque

random.seed(1)
torch.manual_seed(1)


def seen(place, time):
    return torch.tensor([place / 6, math.sin(place), math.cos(place), time / 20], dtype=torch.float32).unsqueeze(0)


class Q(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = nn.Linear(4, 24), nn.Linear(24, 2)

    def forward(self, x):
        return self.layer2(F.relu(self.layer1(x)))


policy, target = Q(), Q()
target.load_state_dict(policy.state_dict())
optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3, amsgrad=True)
memory = deque(maxlen=200)


def learn():
    states, actions, following, rewards = zip(*random.sample(memory, 16), strict=True)
    goes_on = torch.tensor(tuple(s is not None for s in following), dtype=torch.bool)
    chosen = policy(torch.cat(states)).gather(1, torch.cat(actions))
    values = torch.zeros(16)
    with torch.no_grad():
        values[goes_on] = target(torch.cat([s for s in following if s is not None])).max(1).values
    loss = nn.SmoothL1Loss()(chosen, (values * 0.95 + torch.cat(rewards)).unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(policy.parameters(), 1.0)
    optimizer.step()
    return loss.item()


for episode in range(4):
    place, loss = 0, 0.0
    for time in range(15):
        state = seen(place, time)
        if random.random() < 0.5:
            action = torch.tensor([[random.randrange(2)]])
        else:
            with torch.no_grad():
                action = policy(state).max(1).indices.view(1, 1)
        place = max(0, min(6, place + (1 if action.item() == 1 else -1)))
        memory.append((state, action, None if place == 6 else seen(place, time + 1), torch.tensor([place / 6 - 0.1])))
        if len(memory) >= 16:
            loss = learn()
            blended = target.state_dict()
            for key, value in policy.state_dict().items():
                blended[key] = value * 0.05 + blended[key] * 0.95
            target.load_state_dict(blended)
        if place == 6:
            break
    print(f"episode {episode}: {time + 1} steps, at {place}, loss {loss:.4f}")
for slow, fast in zip(target.parameters(), policy.parameters(), strict=True):
    slow.data.copy_(0.05 * fast.data + 0.95 * slow.data)
print(target.layer2.bias.data, target.layer1.weight.detach().abs().mean())
chances = torch.distributions.Categorical(logits=policy(torch.cat([seen(place, 0) for place in range(6)])))
actions = chances.sample()
returns = torch.tensor(list(deque(range(6))), dtype=torch.float32)
returns = (returns - returns.mean()) / (returns.std() + torch.finfo(torch.float32).eps)
loss = -(chances.log_prob(actions) * returns).sum() - 0.01 * chances.entropy().mean()
optimizer.zero_grad()
loss.backward()
print(actions.tolist(), f"{loss.item():.4f}", policy.layer2.weight.grad.norm())
