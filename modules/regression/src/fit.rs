//! Least squares by the normal equations.

use crate::bindings::{
    demo::linalg::linalg::{Matrix, Problem as Failure},
    exports::demo::regression::regression::{Curve, Point, Problem},
};

const MOST: u32 = 8;

/// What is asked of linear algebra.
pub(crate) trait Algebra {
    fn product(&self, a: &Matrix, b: &Matrix) -> Result<Matrix, Failure>;
    fn solution(&self, a: &Matrix, b: &[f64]) -> Result<Vec<f64>, Failure>;
}

pub(crate) fn polynomial(
    algebra: &dyn Algebra,
    points: &[Point],
    degree: u32,
) -> Result<Curve, Problem> {
    if MOST < degree {
        return Err(Problem::Algebra(format!("a degree of {degree} is more than {MOST}")));
    }
    let coefficients = degree.saturating_add(1);
    let count = u32::try_from(points.len()).unwrap_or(u32::MAX);
    if count < coefficients {
        return Err(Problem::TooFew(coefficients));
    }
    let powers = |x: f64| (0..coefficients).map(move |power| x.powf(f64::from(power)));
    let a = Matrix {
        rows: count,
        columns: coefficients,
        values: points.iter().flat_map(|point| powers(point.x)).collect(),
    };
    let transposed = Matrix {
        rows: coefficients,
        columns: count,
        values: (0..coefficients)
            .flat_map(|power| points.iter().map(move |point| point.x.powf(f64::from(power))))
            .collect(),
    };
    let y = Matrix { rows: count, columns: 1, values: points.iter().map(|one| one.y).collect() };
    let squares = algebra.product(&transposed, &a).map_err(failed)?;
    let right = algebra.product(&transposed, &y).map_err(failed)?;
    let coefficients = algebra.solution(&squares, &right.values).map_err(failed)?;
    let explained = explained(points, &coefficients);
    Ok(Curve { coefficients, explained })
}

fn failed(failure: Failure) -> Problem {
    match failure {
        Failure::Singular => Problem::Ambiguous,
        Failure::Shape(text) => Problem::Algebra(text),
        Failure::Diverged => Problem::Algebra("it does not come to an end".to_owned()),
    }
}

fn explained(points: &[Point], coefficients: &[f64]) -> f64 {
    let value = |x: f64| coefficients.iter().rev().fold(0.0, |sum, factor| sum * x + factor);
    let mean = points.iter().map(|point| point.y).sum::<f64>() / points.len() as f64;
    let spread = |of: &dyn Fn(&Point) -> f64| -> f64 {
        points.iter().map(|point| (point.y - of(point)).powi(2)).sum()
    };
    let whole = spread(&|_| mean);
    if whole == 0.0 { 1.0 } else { 1.0 - spread(&|point| value(point.x)) / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does what is asked for two coefficients.
    struct Small;

    impl Algebra for Small {
        fn product(&self, a: &Matrix, b: &Matrix) -> Result<Matrix, Failure> {
            let at = |m: &Matrix, row: u32, column: u32| {
                m.values[usize::try_from(row * m.columns + column).unwrap()]
            };
            let values = (0..a.rows).flat_map(|row| {
                (0..b.columns).map(move |column| {
                    (0..a.columns).map(|k| at(a, row, k) * at(b, k, column)).sum()
                })
            });
            Ok(Matrix { rows: a.rows, columns: b.columns, values: values.collect() })
        }

        fn solution(&self, a: &Matrix, b: &[f64]) -> Result<Vec<f64>, Failure> {
            let [p, q, r, s] = a.values[..] else { return Err(Failure::Diverged) };
            let determinant = p * s - q * r;
            if determinant == 0.0 {
                return Err(Failure::Singular);
            }
            Ok(vec![(s * b[0] - q * b[1]) / determinant, (p * b[1] - r * b[0]) / determinant])
        }
    }

    fn points(of: &[(f64, f64)]) -> Vec<Point> {
        of.iter().map(|&(x, y)| Point { x, y }).collect()
    }

    #[test]
    fn a_line_goes_through_its_points() {
        let line = polynomial(&Small, &points(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 1).unwrap();
        assert_eq!((&*line.coefficients, line.explained), (&[1.0, 2.0][..], 1.0));
    }

    #[test]
    fn what_has_no_curve_says_why() {
        let few = polynomial(&Small, &points(&[(0.0, 1.0)]), 1);
        assert!(matches!(few, Err(Problem::TooFew(2))), "{few:?}");
        let same = polynomial(&Small, &points(&[(1.0, 1.0), (1.0, 2.0)]), 1);
        assert!(matches!(same, Err(Problem::Ambiguous)), "{same:?}");
        let steep = polynomial(&Small, &points(&[(0.0, 1.0)]), 9);
        assert!(matches!(steep, Err(Problem::Algebra(_))), "{steep:?}");
    }
}
