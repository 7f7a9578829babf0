"""Write source_deck_dice.csv: 58 Dice values whose figures per fold are those of the source deck's table.

A fold with n cases and d detected ones gets n - d zeros and d values in hundredths. These start evenly spread with the
wanted mean and SD, and are then moved by hundredths, two at a time, until both are met. Standard library only.

Usage: python tests/data/make_source_deck_dice.py
"""

import csv
import statistics
from pathlib import Path

# cases, detected, wanted sum of the detected cases' Dice in hundredths, wanted SD (ddof 0) of these in hundredths.
# The sums lie where sum / detected rounds to the true-positive mean and sum / cases to the overall mean; the SDs where
# also the overall SD rounds to the printed one, but for the third fold, where that cannot be.
FOLDS = ((15, 11, 520, 20.6), (15, 12, 629, 24.0), (15, 8, 267, 20.0), (13, 8, 464, 22.6))


def spread(count: int, total: int, sd: float) -> list[int]:
    mean = total / count
    steps = [i - (count - 1) / 2 for i in range(count)]
    scale = sd / statistics.pstdev(steps)
    values = [round(mean + scale * step) for step in steps]
    for i in range(abs(total - sum(values))):
        values[i] += 1 if sum(values) < total else -1
    for _ in range(50):
        off = statistics.pstdev(values) - sd
        pair = 0 if abs(off) > 0.5 else 2  # an inner pair changes the SD by less
        if abs(off) < 0.15:
            break
        values[pair] += 1 if off > 0 else -1
        values[-1 - pair] -= 1 if off > 0 else -1
    return values


def main() -> None:
    path = Path(__file__).with_name("source_deck_dice.csv")
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "fold", "dice_hundredths"])
        number = 0
        for fold, (cases, detected, total, sd) in enumerate(FOLDS):
            for value in [*spread(detected, total, sd), *[0] * (cases - detected)]:
                number += 1
                writer.writerow([f"spine_{number:03d}", fold, value])


if __name__ == "__main__":
    main()
