#!/usr/bin/env python3
"""Tries evidences on float features before they are written in Rust: minutes, where a trial takes an hour.

    python3 -m venv target/docs-venv
    target/docs-venv/bin/pip install numpy scipy scikit-learn pillow onnx onnxruntime
    target/docs-venv/bin/python docs/evidences.py --data DIR [--seeds 100 101] [--light none levels] [--fit box squash]

DIR has a split.csv as `zoomgate trial` reads it. For every setting: the image AUROC of the full image's evidences by
themselves and added up, the mean over the seeds. 300 good training pictures, 30 % of them held out for the
standardisation; 10 known bad ones, drawn at random, for `overall`. docs/EXPERIMENTS.md quotes what it printed.
"""
import argparse
import csv
import pathlib

import numpy as np
import onnxruntime
from PIL import Image
from scipy.ndimage import uniform_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

BACKBONE = pathlib.Path(__file__).parent.parent / "models" / "backbone-s.onnx"
AMBIGUOUS = ("likely", "possibly")


def levelled(picture, std=42.0):
    pixels = np.asarray(picture, np.float32)
    gain = min(std / max(pixels.std(), 1.0), 4.0)
    return Image.fromarray(np.clip((pixels - pixels.mean()) * gain + 128.5, 0, 255).astype(np.uint8))


def fitted(picture, size, fit):
    width, height = picture.size
    if fit == "squash":
        return picture.resize((size, size), Image.BILINEAR)
    side = max(width, height)
    x, y = (side - width) // 2, (side - height) // 2
    pad = ((y, side - height - y), (x, side - width - x), (0, 0))
    return Image.fromarray(np.pad(np.asarray(picture), pad, mode="symmetric")).resize((size, size), Image.BILINEAR)


def near(planes):
    """Mean over each cell and its neighbours, `[C, H, W]`."""
    ones = np.pad(np.ones(planes.shape[1:], np.float32), 1)
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
    h, w = planes.shape[1:]
    shifts = [(i, j) for i in range(3) for j in range(3)]
    count = sum(ones[i : i + h, j : j + w] for i, j in shifts)
    return sum(padded[:, i : i + h, j : j + w] for i, j in shifts) / count


def features(session, picture):
    """`[H, W, C]`: both features on the finer one's grid."""
    x = np.asarray(picture, np.float32).transpose(2, 0, 1)[None]
    fine, coarse = session.run(["f8", "f16"], {"image": x})
    coarse = near(coarse[0]).repeat(2, 1).repeat(2, 2)
    return np.concatenate([near(fine[0]), coarse]).transpose(1, 2, 0)


class Template:
    def __init__(self, goods, ridge=0.02, shrink=4.0):
        n, _, _, c = goods.shape
        cells = goods.reshape(-1, c)
        cells = cells[np.random.default_rng(0).choice(len(cells), min(len(cells), 32768), replace=False)]
        covariance = np.cov(cells.T)
        covariance += np.eye(c) * ridge * np.trace(covariance) / c
        self.weight = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.float32)
        self.centre = cells.mean(0)
        z = self.white(goods)
        mean, var = z.mean(0), z.var(0)
        whole = mean.mean((0, 1))
        spread = np.maximum((mean**2 + var).mean((0, 1)) - whole**2, 1e-6)
        var = near(var.transpose(2, 0, 1)).transpose(1, 2, 0)
        self.mean = (n * mean + shrink * whole) / (n + shrink)
        self.std = np.sqrt((n * var + shrink * spread) / (n + shrink))

    def white(self, x):
        return (x - self.centre) @ self.weight.T

    def map(self, x):
        return np.sqrt((((self.white(x) - self.mean) / self.std) ** 2).mean(-1))


class Bank:
    def __init__(self, goods, size=384):
        rng = np.random.default_rng(0)
        cells = goods.reshape(-1, goods.shape[-1])
        cells = cells[rng.choice(len(cells), min(len(cells), 32768), replace=False)]
        points = cells @ (rng.standard_normal((cells.shape[1], 32)).astype(np.float32) / 6)
        far, chosen = np.full(len(points), np.inf, np.float32), [0]
        while len(chosen) < size:
            np.minimum(far, ((points - points[chosen[-1]]) ** 2).sum(1), out=far)
            chosen.append(int(far.argmax()))
        self.prototypes = cells[chosen]
        for _ in range(2):
            nearest = (cells @ self.prototypes.T - (self.prototypes**2).sum(1) / 2).argmax(1)
            sums = np.zeros_like(self.prototypes)
            np.add.at(sums, nearest, cells)
            count = np.bincount(nearest, minlength=size)[:, None]
            self.prototypes = np.where(count > 0, sums / np.maximum(count, 1), self.prototypes)

    def map(self, x):
        half = (self.prototypes**2).sum(1) / 2
        best = [((p @ self.prototypes.T) - half).max(-1) for p in x]
        return np.sqrt(np.maximum((x**2).sum(-1) - 2 * np.stack(best), 0) / x.shape[-1])


def usual(goods):
    """The standardisation of a map by what is usual at each place."""
    n, all_mean, all_var = len(goods), goods.mean(), goods.var()
    mean = (n * uniform_filter(goods.mean(0), 3, mode="nearest") + 8 * all_mean) / (n + 8)
    std = np.sqrt((n * uniform_filter(goods.var(0), 3, mode="nearest") + 8 * all_var) / (n + 8))
    return lambda maps: (maps - mean) / std


def pooled(x):
    cells = x.reshape(len(x), -1, x.shape[-1])
    return np.concatenate([cells.mean(1), (cells**2).mean(1)], 1)


def standard(goods):
    """Pooled features in deviations of good parts."""
    scaler = StandardScaler().fit(pooled(goods))
    return lambda x: np.clip(scaler.transform(pooled(x)), -8, 8)


def exemplars(goods, bads, tests, held, ridge=0.07):
    """The largest of each bad's linear discriminant against the good parts' covariance."""
    rows = standard(goods)
    good, bad = rows(goods), rows(bads)
    dims = good.shape[1]
    weight = np.linalg.solve(np.cov(good.T) + ridge * dims / len(good) * np.eye(dims), bad.T)
    weight /= np.sqrt((weight * bad.T).sum(0))
    return (rows(tests) @ weight).max(1), (rows(held) @ weight).max(1)


def overall(goods, bads, tests, held, trust):
    rows = standard(goods)
    labels = np.r_[np.zeros(len(goods)), np.ones(len(bads))]
    model = LogisticRegression(C=trust, class_weight="balanced", max_iter=500)
    model.fit(np.r_[rows(goods), rows(bads)], labels)
    return model.decision_function(rows(tests)), model.decision_function(rows(held))


def largest(maps, count=2):
    return np.sort(maps.reshape(len(maps), -1), 1)[:, -count:].mean(1)


def run(data, rows, args, light, fit, seed):
    rng = np.random.default_rng(seed)
    goods = [r for r in rows if r["split"] == "train" and r["label"] == "0"]
    rng.shuffle(goods)
    goods = goods[:300]
    bad = [r for r in rows if r["label"] == "1"]
    known = [bad[i] for i in rng.choice(len(bad), args.known, replace=False)]
    test = [r for r in rows if r["split"] == "test" and r not in known]
    held_groups = set()
    for row in goods:
        if sum((r["group"] or r["path"]) in held_groups for r in goods) < 0.3 * len(goods):
            held_groups.add(row["group"] or row["path"])
    held = [r for r in goods if (r["group"] or r["path"]) in held_groups]
    goods = [r for r in goods if r not in held]
    session = onnxruntime.InferenceSession(str(BACKBONE), providers=["CPUExecutionProvider"])

    def look(rows):
        for row in rows:
            picture = Image.open(data / row["path"]).convert("RGB")
            picture = levelled(picture) if light == "levels" else picture
            yield features(session, fitted(picture, args.size, fit))

    goods, held, bads, tests = (np.stack(list(look(r))) for r in (goods, held, known, test))
    mean, std = goods.reshape(-1, goods.shape[-1]).mean(0), goods.reshape(-1, goods.shape[-1]).std(0)
    gain = 1 / np.sqrt(std**2 + 0.01 * std.mean() ** 2)
    goods, held, bads, tests = (np.clip((x - mean) * gain, -8, 8) for x in (goods, held, bads, tests))
    labels = np.array([int(r["label"]) for r in test])
    template, plain = Template(goods), Bank(goods)
    white = Bank(template.white(goods))
    maps = {
        "template": lambda x: template.map(x),
        "bank": lambda x: plain.map(x),
        "white bank": lambda x: white.map(template.white(x)),
    }
    found = {}
    for name, of in maps.items():
        found[name] = usual(of(held))(of(tests)), usual(of(held))(of(held))
    both = [0.65 * a + 0.35 * b for a, b in zip(found["template"], found["white bank"])]
    scores = {name: largest(maps) for name, (maps, _) in found.items()}
    scores["normality"], usual_score = largest(both[0]), largest(both[1])
    at, spread = usual_score.mean(), usual_score.std()
    for trust in (0.003, 0.03, 0.01):
        odds, held_odds = overall(goods, bads, tests, held, trust)
        scores[f"overall C={trust}"] = odds
        z = (odds - held_odds.mean()) / held_odds.std()
        scores[f"normality + overall C={trust}"] = (scores["normality"] - at) / spread + z
    own, held_own = exemplars(goods, bads, tests, held)
    scores["exemplars"] = own
    both, held_both = (x + held_odds.std() * y for x, y in ((odds, own), (held_odds, held_own)))
    for name, score, of in (("exemplars", own, held_own), ("overall + exemplars", both, held_both)):
        scores[f"normality + {name}"] = (scores["normality"] - at) / spread + (score - of.mean()) / of.std()
    return {name: roc_auc_score(labels, score) for name, score in scores.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=pathlib.Path, required=True)
    p.add_argument("--seeds", type=int, nargs="+", default=[100, 101])
    p.add_argument("--light", nargs="+", default=["none", "levels"], choices=["none", "levels"])
    p.add_argument("--fit", nargs="+", default=["box", "squash"], choices=["box", "squash"])
    p.add_argument("--known", type=int, default=10)
    p.add_argument("--size", type=int, default=256)
    args = p.parse_args()
    with open(args.data / "split.csv", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["defect"] not in AMBIGUOUS]
    for light in args.light:
        for fit in args.fit:
            runs = [run(args.data, rows, args, light, fit, seed) for seed in args.seeds]
            mean = {name: np.mean([r[name] for r in runs]) for name in runs[0]}
            print(f"{light} {fit}: " + ", ".join(f"{n} {v:.3f}" for n, v in mean.items()), flush=True)


if __name__ == "__main__":
    main()
