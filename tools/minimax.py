"""minimax.py - print the coefficient tables of src/kernels/vmath_f32.h and vmath_f64.h.

SPDX-License-Identifier: BSD-3-Clause

Every table is a weighted minimax polynomial found by Remez' second algorithm on a dense Chebyshev
grid, in mpmath's multiple precision. Rounding to the target format is part of the search: the
lowest coefficient (the one whose error costs most) is rounded first and the rest are fitted again
with it fixed, and so on upwards.

    python tools/minimax.py            all tables, with the worst weighted error of each
    python tools/minimax.py f32        one format
    python tools/minimax.py f64 erfc   tables whose name contains a word

Reference: E. Remez, "Sur la determination des polynomes d'approximation de degre donnee", 1934;
J.-M. Muller, "Elementary Functions", 3rd edition, chapter 3.
"""

import sys

import mpmath as mp

mp.mp.prec = 180
GRID = 700
NEAR_ZERO = 0.02  # of the range: points that say nothing about the higher coefficients
BITS = {"f32": 24, "f64": 53}


def chebyshev_grid(low, high, count=GRID):
    """Points from low to high, dense at both ends, ends included."""
    middle, half = (mp.mpf(low) + high) / 2, (mp.mpf(high) - low) / 2
    return [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def round_to(value, bits):
    """The nearest number with a significand of `bits` bits."""
    with mp.workprec(bits):
        return +value


def horner(coefficients, x):
    total = mp.mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def alternate(errors, count):
    """Indices of `count` extrema of alternating sign, the largest that do."""
    runs = []
    for i, e in enumerate(errors):
        if runs and (errors[runs[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > count:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    return runs


def errors_of(coefficients, points, target, weight):
    rows = zip(points, target, weight, strict=True)
    return [w * (t - horner(coefficients, x)) for x, t, w in rows]


def remez(points, target, weight, powers, iterations=40):
    """Coefficients of x**powers minimising max |weight * (target - polynomial)| over the points."""
    size = len(powers) + 1
    reference = [i * (len(points) - 1) // (size - 1) for i in range(size)]
    best, best_error = None, mp.inf
    for _ in range(iterations):
        matrix, right = mp.matrix(size), mp.matrix(size, 1)
        for row, i in enumerate(reference):
            for power in powers:
                matrix[row, power] = weight[i] * points[i] ** power
            matrix[row, size - 1] = (-1) ** row
            right[row] = weight[i] * target[i]
        solution = mp.lu_solve(matrix, right)
        coefficients, level = list(solution)[:-1], abs(solution[size - 1])
        errors = errors_of(coefficients, points, target, weight)
        worst = max(abs(e) for e in errors)
        if worst < best_error:
            best, best_error = coefficients, worst
        if worst <= level * mp.mpf("1.001"):
            break
        found = alternate(errors, size)
        if len(found) < size:
            break
        reference = found
    return best


def rounded_fit(points, target, weight, degree, bits, fixed=()):
    """Minimax polynomial whose coefficients fit in `bits` bits; `fixed`: the lowest, if prescribed.

    With c0..c(k-1) settled, (target - those terms) / x**k is fitted under the weight times |x|**k:
    the same problem, but on the basis 1, x, x**2, .. that Remez needs where 0 is inside the range.
    """
    table = [mp.mpf(c) for c in fixed]
    while len(table) <= degree:
        k = len(table)
        rows = [
            (x, (t - horner(table, x)) / x**k, w * abs(x) ** k)
            for x, t, w in zip(points, target, weight, strict=True)
            if w and (k == 0 or abs(x) > NEAR_ZERO * points[-1])
        ]
        coefficients = remez(*zip(*rows, strict=True), range(degree + 1 - k))
        table.append(round_to(coefficients[0], bits))
    return table, max(abs(e) for e in errors_of(table, points, target, weight))


# The functions that are fitted. Each is written so that its limit at 0 is exact.


def at_zero(limit, formula):
    return lambda x: formula(x) if x else mp.mpf(limit)


def from_square(formula):
    """The function of z = x**2 that `formula` is of x."""
    return lambda z: formula(mp.sqrt(z))


LN2 = mp.log(2)
SQRT2 = mp.sqrt(2)
PI_4_SQUARED = (mp.pi / 4) ** 2
S_MAX_SQUARED = ((SQRT2 - 1) / (SQRT2 + 1)) ** 2

expm1_rest = at_zero(0.5, lambda r: (mp.expm1(r) - r) / r**2)
log_rest = at_zero(-0.5, lambda f: (mp.log1p(f) - f) / f**2)
log_odd = at_zero(mp.mpf(2) / 3, from_square(lambda s: (2 * mp.atanh(s) - 2 * s) / s**3))
sin_rest = at_zero(-mp.mpf(1) / 6, from_square(lambda x: (mp.sin(x) - x) / x**3))
cos_rest = at_zero(mp.mpf(1) / 24, from_square(lambda x: (mp.cos(x) - 1 + x**2 / 2) / x**4))
erf_rest = at_zero(2 / mp.sqrt(mp.pi) - 1, from_square(lambda x: mp.erf(x) / x - 1))
expm1_of_double_rest = at_zero(1, lambda r: (mp.expm1(2 * r) - 2 * r) / (2 * r**2))


def erfc_root(k, middle):
    return lambda u: mp.erfc(u + middle) ** (mp.mpf(1) / k)


def erfcx_over_t(shift):
    """erfc(x) exp(x^2) / t where t = 1 / (x + shift)."""
    return lambda t: mp.exp((1 / t - shift) ** 2) * mp.erfc(1 / t - shift) / t


def polynomial(function, low, high, degree, weight, fixed=()):
    """A row of TABLES: weight(x, function(x)) makes the error relative to the final result."""

    def fit(bits):
        points = chebyshev_grid(low, high)
        target = [function(x) for x in points]
        weights = [weight(x, t) for x, t in zip(points, target, strict=True)]
        return rounded_fit(points, target, weights, degree, bits, fixed)

    return fit


def exp_table(degree):  # c0 = 1 makes exp(0) exact
    return polynomial(mp.exp, 0, LN2, degree, lambda r, y: 1 / y, fixed=(1,))


def expm1_table(degree):
    return polynomial(
        expm1_rest, -LN2 / 2, LN2 / 2, degree, at_zero_weight(lambda r: r**2 / abs(mp.expm1(r)))
    )


def tanh_table(degree):
    return polynomial(
        expm1_of_double_rest,
        -LN2 / 4,
        LN2 / 4,
        degree,
        at_zero_weight(lambda r: 2 * r**2 / abs(mp.expm1(2 * r))),
    )


def at_zero_weight(formula):
    """A weight that vanishes at 0, where its formula is 0/0."""
    return lambda x, y: formula(x) if x else mp.mpf(0)


def sin_table(degree):
    return polynomial(
        sin_rest, 0, PI_4_SQUARED, degree, at_zero_weight(lambda z: z**1.5 / mp.sin(mp.sqrt(z)))
    )


def cos_table(degree):
    return polynomial(cos_rest, 0, PI_4_SQUARED, degree, lambda z, y: z**2 / mp.cos(mp.sqrt(z)))


def erf_small_table(degree):
    return polynomial(erf_rest, 0, 1, degree, lambda z, y: 1 / (1 + y))


def erf_tail_table(root, high, degree):  # absolute error of the root's power
    middle = ERF_MIDDLE[high]
    return polynomial(
        erfc_root(root, middle),
        1 - middle,
        mp.mpf(high) - middle,
        degree,
        lambda u, y: root * y ** (root - 1),
    )


def erfcx_table(high, degree):
    return polynomial(
        erfcx_over_t(2), 1 / (mp.mpf(high) + 2), mp.mpf(1) / 3, degree, lambda t, y: 1 / y
    )


ERF_MIDDLE = {"3.9375": mp.mpf("2.46875"), "5.9375": mp.mpf("3.46875")}

TABLES = {
    "f32": {
        "exp": exp_table(6),
        "expm1": expm1_table(4),
        "log": polynomial(
            log_rest, 1 / SQRT2 - 1, SQRT2 - 1, 7, at_zero_weight(lambda f: f**2 / abs(mp.log1p(f)))
        ),
        "sin": sin_table(2),
        "cos": cos_table(2),
        "tanh": tanh_table(4),
        "erf_small": erf_small_table(6),
        "erf_tail": erf_tail_table(4, "3.9375", 7),
        "erfcx": erfcx_table("9.37", 8),
    },
    "f64": {
        "exp": exp_table(11),
        "expm1": expm1_table(9),
        "log": polynomial(log_odd, 0, S_MAX_SQUARED, 6, lambda v, y: v / 2),
        "sin": sin_table(5),
        "cos": cos_table(5),
        "tanh": tanh_table(9),
        "erf_small": erf_small_table(11),
        "erf_tail": erf_tail_table(8, "5.9375", 18),
        "erfcx": erfcx_table("26.63", 20),
    },
}


def c_literal(value, kind):
    mantissa, exponent = float(value).hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}" + ("f" if kind == "f32" else "")


def c_table(name, table, kind):
    lines, line = [], "   "
    for literal in (c_literal(c, kind) for c in table):
        if len(line) + len(literal) > 97:
            lines.append(line)
            line = "   "
        line += f" {literal},"
    lines.append(line)
    return "\n".join([f"static const real vm_c_{name}[] = {{", *lines, "};"])


def main(arguments):
    kinds = [a for a in arguments if a in TABLES] or list(TABLES)
    words = [a for a in arguments if a not in TABLES]
    for kind in kinds:
        for name, fit in TABLES[kind].items():
            if words and not any(w in name for w in words):
                continue
            table, worst = fit(BITS[kind])
            print(f"/* {kind} {name}: error 2^{float(mp.log(worst, 2)):.1f} */")
            print(c_table(name, table, kind))


if __name__ == "__main__":
    main(sys.argv[1:])
