//! Work for the processor alone, compiled natively and to WebAssembly from this file: long basic
//! blocks (`matrix`), a tight loop of branches (`collatz`), and memory (`sieve`).

/// The product of two square matrices of such a size; its trace, rounded.
pub(crate) fn matrix(size: u32) -> u64 {
    let n = usize::try_from(size).unwrap_or(0);
    if n == 0 {
        return 0;
    }
    let element = |at: usize| f64::from(u32::try_from(at % 97).unwrap_or(0)) / 97.0;
    let a: Vec<f64> = (0..n * n).map(element).collect();
    let b: Vec<f64> = (0..n * n).map(|at| element(at + 13)).collect();
    let mut product = vec![0.0; n * n];
    for (row, into) in a.chunks_exact(n).zip(product.chunks_exact_mut(n)) {
        for (left, line) in row.iter().zip(b.chunks_exact(n)) {
            for (sum, right) in into.iter_mut().zip(line) {
                *sum += left * right;
            }
        }
    }
    let trace: f64 = product.iter().step_by(n + 1).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small sum")]
    let rounded = trace.round() as u64;
    rounded
}

/// The sum of the steps that all numbers up to `limit` take in Collatz' sequence.
pub(crate) fn collatz(limit: u32) -> u64 {
    let steps = |first: u64| {
        let (mut number, mut steps) = (first, 0_u64);
        while number > 1 {
            number = if number.is_multiple_of(2) { number / 2 } else { 3 * number + 1 };
            steps += 1;
        }
        steps
    };
    (1..=u64::from(limit)).map(steps).sum()
}

/// How many primes there are below `limit`.
pub(crate) fn sieve(limit: u32) -> u64 {
    let n = usize::try_from(limit).unwrap_or(0);
    let mut composite = vec![false; n];
    let mut primes = 0;
    for number in 2..n {
        if composite.get(number).is_none_or(|composite| *composite) {
            continue;
        }
        primes += 1;
        if let Some(multiples) = composite.get_mut(number.saturating_mul(number)..) {
            for multiple in multiples.iter_mut().step_by(number) {
                *multiple = true;
            }
        }
    }
    primes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_compute_what_they_say() {
        assert_eq!(sieve(100), 25);
        assert_eq!(collatz(3), 8);
        // The identity of n = 1: (0 / 97) * (13 / 97).
        assert_eq!(matrix(1), 0);
        assert_eq!(matrix(0), 0);
        assert!(0 < matrix(16));
    }
}
