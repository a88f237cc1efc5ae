//! A head as plain numbers: its layers, their sizes, and how many numbers they are.

/// Channels inside the head.
pub const HIDDEN: usize = 64;
/// Channels of attention keys and queries.
pub const KEY: usize = 16;
/// Share of cells whose mean is the image's score.
pub const TOP_SHARE: f64 = 0.02;
/// Slope of the leaky ReLU below 0.
pub const LEAK: f64 = 0.2;
/// A linear layer's weight `[out, in]` and bias `[out]`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Row-major `[out, in]`.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

/// A fitted head, as plain numbers; the mean of the features is folded into the first layer.
#[derive(Clone, Debug)]
pub struct Head {
    /// Features to hidden.
    pub first: Linear,
    /// Queries of the attention.
    pub query: Linear,
    /// Keys of the attention.
    pub key: Linear,
    /// Values of the attention, multiplied by γ already.
    pub value: Linear,
    /// Hidden to hidden.
    pub second: Linear,
    /// Hidden to one map.
    pub last: Linear,
    /// Rows and columns of the map.
    pub(super) grid: [usize; 2],
}

/// Number of cells averaged for the image's score.
pub fn top_cells(cells: usize) -> usize {
    ((cells as f64 * TOP_SHARE) as usize).max(1)
}

impl Head {
    /// All its numbers, layer by layer, weights before biases.
    pub fn numbers(&self) -> Vec<f32> {
        self.layers().into_iter().flat_map(|l| l.weight.iter().chain(&l.bias)).copied().collect()
    }

    /// How many [`Head::numbers`] there are for so many features; `None` for more than can be counted.
    pub fn count(channels: usize) -> Option<usize> {
        let layer = |out: usize, inp: usize| out.checked_mul(inp)?.checked_add(out);
        let inner = [(KEY, HIDDEN), (KEY, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (1, HIDDEN)];
        inner.into_iter().try_fold(layer(HIDDEN, channels)?, |all, (out, inp)| all.checked_add(layer(out, inp)?))
    }

    /// The head with these [`Head::numbers`] for `channels` features on `grid`; `None` where they are not as many.
    pub fn from_numbers(numbers: &[f32], channels: usize, grid: [usize; 2]) -> Option<Self> {
        let mut rest = numbers;
        let mut layer = |out: usize, inp: usize| -> Option<Linear> {
            let (weight, more) = rest.split_at_checked(out * inp)?;
            let (bias, more) = more.split_at_checked(out)?;
            rest = more;
            Some(Linear { weight: weight.to_vec(), bias: bias.to_vec() })
        };
        let head = Self {
            first: layer(HIDDEN, channels)?,
            query: layer(KEY, HIDDEN)?,
            key: layer(KEY, HIDDEN)?,
            value: layer(HIDDEN, HIDDEN)?,
            second: layer(HIDDEN, HIDDEN)?,
            last: layer(1, HIDDEN)?,
            grid,
        };
        rest.is_empty().then_some(head)
    }

    fn layers(&self) -> [&Linear; 6] {
        [&self.first, &self.query, &self.key, &self.value, &self.second, &self.last]
    }
}
