//! Dot products of stored vectors with a query.

use pulp::{Arch, Simd, WithSimd};

use super::half::widen;

/// Values that are multiplied together. A query is filled up with zeros to a multiple of this.
pub const LANES: usize = 32;

/// A query, ready to be compared with vectors of `dim` values.
pub struct Query {
    values: Vec<f32>,
    dim: usize,
}

impl Query {
    pub fn new(vector: &[f32]) -> Query {
        let mut values = vector.to_vec();
        values.resize(vector.len().next_multiple_of(LANES), 0.0);
        Query { values, dim: vector.len() }
    }

    /// The dot product with each of the vectors, which are little-endian f16 values, one vector after another. `scores` has one
    /// place for each. Sums are taken in the same order on every processor.
    pub fn scores(&self, vectors: &[u8], scores: &mut [f32]) {
        Arch::new().dispatch(Scores { query: self, vectors, scores });
    }
}

struct Scores<'a> {
    query: &'a Query,
    vectors: &'a [u8],
    scores: &'a mut [f32],
}

impl WithSimd for Scores<'_> {
    type Output = ();

    /// Plain code, which the compiler turns into the instructions of `S`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (query, rest) = self.query.values.split_at(self.query.dim / LANES * LANES);
        for (vector, score) in self.vectors.chunks_exact(2 * self.query.dim).zip(self.scores) {
            let (vector, tail) = vector.as_chunks::<{ 2 * LANES }>();
            let mut sums = [0.0f32; LANES];
            for (vector, query) in vector.iter().zip(query.as_chunks::<LANES>().0) {
                add(vector, query, &mut sums);
            }
            if !tail.is_empty() {
                let mut last = [0; 2 * LANES];
                last[..tail.len()].copy_from_slice(tail);
                add(&last, rest.first_chunk().unwrap_or(&[0.0; LANES]), &mut sums);
            }
            let mut width = LANES / 2;
            while width > 0 {
                for i in 0..width {
                    sums[i] += sums[i + width];
                }
                width /= 2;
            }
            *score = sums[0];
        }
    }
}

#[inline(always)]
fn add(vector: &[u8; 2 * LANES], query: &[f32; LANES], sums: &mut [f32; LANES]) {
    let (vector, _) = vector.as_chunks::<2>();
    for i in 0..LANES {
        sums[i] += widen(u16::from_le_bytes(vector[i])) * query[i];
    }
}

#[cfg(test)]
mod tests {
    use super::super::half::stored;
    use super::*;

    #[test]
    fn products_are_those_of_plain_sums() {
        for dim in [1, 7, 31, 32, 33, 64, 100, 512, 768] {
            let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 500.0 - 1.0;
            let query: Vec<f32> = (0..dim).map(value).collect();
            let mut bytes = Vec::new();
            for row in 0..5 {
                stored(&(0..dim).map(|i| value(i + 31 * row)).collect::<Vec<_>>(), &mut bytes);
            }
            let mut scores = [f32::NAN; 5];
            Query::new(&query).scores(&bytes, &mut scores);
            for (row, score) in bytes.chunks_exact(2 * dim).zip(scores) {
                let values = row.as_chunks::<2>().0.iter().map(|b| widen(u16::from_le_bytes(*b)));
                let want: f64 = values.zip(&query).map(|(a, b)| f64::from(a) * f64::from(*b)).sum();
                assert!((f64::from(score) - want).abs() < 1e-5, "{dim}: {score} {want}");
            }
        }
    }
}
