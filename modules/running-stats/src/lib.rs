//! Statistics over numbers that come a few at a time: a resource that callers hold across calls.

use std::cell::Cell;

use bindings::exports::demo::running_stats::stats::{
    Guest, GuestSeries, Problem, Series, SeriesBorrow, Summary,
};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(Module with_types_in self);
    use super::Module;
}

struct Module;

/// Count, mean and the sum of squared distances from it (Welford), with the extremes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
    least: f64,
    greatest: f64,
}

#[derive(Default)]
struct Numbers(Cell<Moments>);

impl Guest for Module {
    type Series = Numbers;

    fn compare(a: SeriesBorrow<'_>, b: SeriesBorrow<'_>) -> Option<f64> {
        welch(a.get::<Numbers>().0.get(), b.get::<Numbers>().0.get())
    }
}

impl GuestSeries for Numbers {
    fn new() -> Self {
        Self::default()
    }

    fn add(&self, numbers: Vec<f64>) -> Result<u64, Problem> {
        if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(Problem::NotFinite(u32::try_from(at).unwrap_or(u32::MAX)));
        }
        let moments = numbers.into_iter().fold(self.0.get(), Moments::with);
        self.0.set(moments);
        Ok(moments.count)
    }

    fn summary(&self) -> Option<Summary> {
        let moments = self.0.get();
        (0 < moments.count).then(|| Summary {
            count: moments.count,
            mean: moments.mean,
            variance: moments.variance().unwrap_or(0.0),
            least: moments.least,
            greatest: moments.greatest,
        })
    }

    fn beside(&self) -> Series {
        Series::new(Self::default())
    }

    fn merge(all: Vec<Series>) -> Series {
        let all = all.iter().map(|series| series.get::<Self>().0.get());
        Series::new(Self(Cell::new(all.fold(Moments::default(), Moments::and))))
    }
}

impl Moments {
    fn with(self, number: f64) -> Self {
        self.and(Self { count: 1, mean: number, squares: 0.0, least: number, greatest: number })
    }

    fn and(self, other: Self) -> Self {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let count = self.count.saturating_add(other.count);
        let (n, m, all) = (as_f64(self.count), as_f64(other.count), as_f64(count));
        let apart = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * m / all,
            squares: self.squares + other.squares + apart * apart * n * m / all,
            least: self.least.min(other.least),
            greatest: self.greatest.max(other.greatest),
        }
    }

    fn variance(&self) -> Option<f64> {
        (1 < self.count).then(|| self.squares / as_f64(self.count - 1))
    }
}

fn welch(a: Moments, b: Moments) -> Option<f64> {
    let error = (a.variance()? / as_f64(a.count) + b.variance()? / as_f64(b.count)).sqrt();
    (0.0 < error).then(|| (a.mean - b.mean) / error)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 numbers")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[f64]) -> Moments {
        numbers.iter().copied().fold(Moments::default(), Moments::with)
    }

    #[test]
    fn moments_are_those_of_the_numbers_however_they_came() {
        let all = of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((all.count, all.mean, all.least, all.greatest), (8, 5.0, 2.0, 9.0));
        assert!((all.variance().unwrap_or(0.0) - 32.0 / 7.0).abs() < 1e-12);
        let parts = of(&[2.0, 4.0, 4.0]).and(of(&[])).and(of(&[4.0, 5.0, 5.0, 7.0, 9.0]));
        assert!((parts.squares - all.squares).abs() < 1e-12 && parts.count == 8);
        assert_eq!(of(&[1.0]).variance(), None);
    }

    #[test]
    fn means_are_compared_in_standard_errors() {
        let apart = welch(of(&[1.0, 2.0, 3.0]), of(&[2.0, 3.0, 4.0])).unwrap_or(0.0);
        assert!((apart + 1.224_744_871).abs() < 1e-6, "{apart}");
        assert_eq!(welch(of(&[1.0, 1.0]), of(&[1.0, 1.0])), None);
        assert_eq!(welch(of(&[1.0]), of(&[1.0, 2.0])), None);
    }
}
