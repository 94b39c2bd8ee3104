"""The shipped digits and the weights of the shipped models, read without proofmark.

The split of the digits is a rule (`crates/data/src/digits.rs`, `crates/data/src/subset.rs`): this is that rule a
second time, so that whatever is calibrated here sees the training split only. The digests of the two lists of ids
are the ones the Rust tests pin.
"""

import gzip
import hashlib
import heapq
import json
import struct
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "datasets" / "digits"
SPLIT_SEED, TEST_ROWS, SUBSET = 1998, 899, 5
DIGESTS = (
    "7e33f23f13ac51769d7d46d343f161e6408b6d7d1ae3be4da0b25fcfc2c41289",
    "a275640dfb40cd281d79a891d6b4281e97668cc0fac4595f01d2c733863d11a2",
)
WORD = 0xFFFFFFFF


def philox(counter, key):
    """One block of Philox4x32-10."""
    (a, b, c, d), (k, l) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ k, q & WORD, (p >> 32) ^ d ^ l, p & WORD
        k, l = (k + 0x9E3779B9) & WORD, (l + 0xBB67AE85) & WORD
    return a, b, c, d


def draw(row):
    """The first two words of the stream that orders the samples of a class."""
    seed = (SPLIT_SEED & WORD, SPLIT_SEED >> 32)
    a = philox((row & WORD, row >> 32, 0, 0), seed)
    b = philox((a[0], a[1], a[2], a[3] ^ SUBSET), seed)
    return philox((0, b[2], b[3], SUBSET), b[:2])[:2]


def ranks(labels):
    """The place of each row in the seeded, class-stratified order (`ranks` of `subset.rs`)."""
    classes = [sorted((*draw(r), r) for r in np.flatnonzero(labels == c).tolist()) for c in np.unique(labels)]
    total, rank = len(labels), [0] * len(labels)
    waiting, possible = [(0, c, 0) for c in range(len(classes))], []
    for place in range(total):
        while waiting and waiting[0][0] <= place:
            _, c, j = heapq.heappop(waiting)
            latest = -(-(j + 1) * total // len(classes[c]))
            heapq.heappush(possible, (latest, classes[c][j], c, j))
        _, (_, _, row), c, j = heapq.heappop(possible)
        rank[row] = place
        if j + 1 < len(classes[c]):
            heapq.heappush(waiting, ((j + 1) * total // len(classes[c]), c, j + 1))
    return np.array(rank)


def split():
    """`((x, y) of digits, (x, y) of digits:train)`: images `[n, 1, 8, 8]` in [0, 1] and labels."""
    table = np.loadtxt(gzip.open(FOLDER / "digits.csv.gz", "rt"), delimiter=",", dtype=np.int64)
    x = (table[:, :64].astype(np.float32) / 16).reshape(-1, 1, 8, 8)
    y = table[:, 64]
    test = ranks(y) < TEST_ROWS
    for rows, digest in zip((test, ~test), DIGESTS):
        ids = "\n".join(map(str, np.flatnonzero(rows)))
        assert hashlib.sha256(ids.encode()).hexdigest() == digest, "not the split that the Rust tests pin"
    return (x[test], y[test]), (x[~test], y[~test])


def weights(name):
    """`{tensor: (shape, offset in the file, bytes)}` of `digits-NAME.safetensors`, and the file's bytes."""
    data = (FOLDER / f"digits-{name}.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    found = {}
    for tensor, about in header.items():
        assert about["dtype"] == "F32", tensor
        start, end = about["data_offsets"]
        found[tensor] = (about["shape"], 8 + size + start, end - start)
    return found, data
