//! Frames in which no part can be judged: a camera without light, out of focus, covered, or in front of something else.

#![allow(dead_code, reason = "each program uses its share")]

use rand::Rng;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use zoomgate::frame::Frame;

/// A frame with its name.
pub type Case = (String, Frame);

/// Cases that the statistics of a frame need not know: the frame shows as much as any other.
pub const SHOWS_ENOUGH: [&str; 2] = ["shifted", "other_product"];

/// Pixels as floats, to be bent.
#[derive(Clone)]
struct Canvas {
    width: usize,
    height: usize,
    rgb: Vec<f32>,
}

impl Canvas {
    fn of(frame: &Frame) -> Self {
        let rgb = frame.rgb.iter().map(|&v| f32::from(v)).collect();
        Self { width: frame.width as usize, height: frame.height as usize, rgb }
    }

    fn like(frame: &Frame, pixel: impl Fn(usize, usize) -> [f32; 3]) -> Self {
        let (width, height) = (frame.width as usize, frame.height as usize);
        let rgb = (0..width * height).flat_map(|i| pixel(i % width, i / width)).collect();
        Self { width, height, rgb }
    }

    fn map(mut self, change: impl FnMut(f32) -> f32) -> Self {
        let mut change = change;
        self.rgb.iter_mut().for_each(|v| *v = change(*v));
        self
    }

    /// Another value wherever `is_hit`.
    fn painted(mut self, value: f32, is_hit: impl Fn(usize, usize) -> bool) -> Self {
        for y in 0..self.height {
            for x in 0..self.width {
                if is_hit(x, y) {
                    self.rgb[3 * (y * self.width + x)..][..3].fill(value);
                }
            }
        }
        self
    }

    /// Three box blurs in a row are a Gaussian of `sigma` pixels to a few per cent.
    fn blurred(self, sigma: f32) -> Self {
        let side = ((12.0 * sigma * sigma / 3.0 + 1.0).sqrt() / 2.0).round() as isize;
        (0..3).fold(self, |canvas, _| canvas.boxed(side, true).boxed(side, false))
    }

    fn boxed(&self, radius: isize, is_across: bool) -> Self {
        let (length, lines) = if is_across { (self.width, self.height) } else { (self.height, self.width) };
        let at = |line: usize, p: usize, c: usize| {
            let (x, y) = if is_across { (p, line) } else { (line, p) };
            3 * (y * self.width + x) + c
        };
        let mut out = self.clone();
        for (line, c) in (0..lines).flat_map(|line| (0..3).map(move |c| (line, c))) {
            let value = |p: isize| self.rgb[at(line, p.clamp(0, length as isize - 1) as usize, c)];
            let mut sum: f32 = (-radius..=radius).map(value).sum();
            for p in 0..length as isize {
                out.rgb[at(line, p as usize, c)] = sum / (2 * radius + 1) as f32;
                sum += value(p + radius + 1) - value(p - radius);
            }
        }
        out
    }

    fn noisy(self, rng: &mut ChaCha8Rng, deviation: impl Fn(f32) -> f32) -> Self {
        self.map(|v| v + deviation(v) * normal(rng))
    }

    fn frame(self) -> Frame {
        let rgb: Vec<u8> = self.rgb.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
        Frame::still(self.width as u32, self.height as u32, rgb)
    }
}

/// Twelve uniform values: a normal distribution as far as a picture shows.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0
}

/// Whether a share of the pixels, from the beginning or from the end on, reaches as far as this one.
fn reaches(at: usize, length: usize, share: f32, is_from_end: bool) -> bool {
    let at = at as f32 / length as f32;
    if is_from_end { at >= 1.0 - share } else { at < share }
}

fn noise(like: &Frame, mean: f32, deviation: f32, rng: &mut ChaCha8Rng) -> Frame {
    Canvas::like(like, |_, _| [mean; 3]).noisy(rng, |_| deviation).frame()
}

fn lines(like: &Frame, period: usize, low: f32, high: f32, is_across: bool) -> Frame {
    let level = |x: usize, y: usize| if (if is_across { y } else { x }) % period < period / 2 { high } else { low };
    Canvas::like(like, |x, y| [level(x, y); 3]).frame()
}

/// `good` moved to the right by a share of its width, what is uncovered as grey as its middle grey.
fn shifted(good: &Frame, share: f32) -> Frame {
    let canvas = Canvas::of(good);
    let mut sorted: Vec<u8> = good.rgb.to_vec();
    sorted.sort_unstable();
    let (grey, by) = (f32::from(sorted[sorted.len() / 2]), (share * good.width as f32) as usize);
    let pixel = |x: usize, y: usize| match x.checked_sub(by) {
        Some(x) => std::array::from_fn(|c| canvas.rgb[3 * (y * canvas.width + x) + c]),
        None => [grey; 3],
    };
    Canvas::like(good, pixel).frame()
}

/// `other` as large as `good`, nearest pixels.
fn resized(other: &Frame, good: &Frame) -> Frame {
    let canvas = Canvas::of(other);
    let pixel = |x: usize, y: usize| {
        let (x, y) = (x * canvas.width / good.width as usize, y * canvas.height / good.height as usize);
        std::array::from_fn(|c| canvas.rgb[3 * (y * canvas.width + x) + c])
    };
    Canvas::like(good, pixel).frame()
}

/// The 29 cases that were reported: `good` is a good part, `other` a part of another product.
pub fn reported(good: &Frame, other: &Frame, rng: &mut ChaCha8Rng) -> Vec<Case> {
    let canvas = || Canvas::of(good);
    let (width, height) = (good.width as usize, good.height as usize);
    let flat = |v: u8| (format!("flat {v}"), Canvas::like(good, |_, _| [f32::from(v); 3]).frame());
    let mut cases: Vec<Case> = [0, 1, 16, 64, 128, 200, 255].map(flat).to_vec();
    let mut add = |name: &str, frame: Frame| cases.push((name.to_owned(), frame));
    add("gradient", Canvas::like(good, |x, _| [x as f32 * 255.0 / width as f32; 3]).frame());
    add("one colour", Canvas::like(good, |_, _| [255.0, 0.0, 0.0]).frame());
    for (mean, deviation) in
        [(2.0, 1.0), (4.0, 2.0), (8.0, 3.0), (32.0, 4.0), (128.0, 4.0), (128.0, 20.0), (250.0, 4.0)]
    {
        add(&format!("noise {mean}/{deviation}"), noise(good, mean, deviation, rng));
    }
    let white = Canvas::like(good, |_, _| [0.0; 3]).map(|_| rng.random_range(0.0..255.0)).frame();
    add("white noise", white);
    add("lines", lines(good, 8, 0.0, 255.0, true));
    add("defocus 10", canvas().blurred(10.0).frame());
    add("defocus 30", canvas().blurred(30.0).frame());
    add("light 1 %", canvas().map(|v| 0.01 * v).frame());
    add("light 2 %, noise", canvas().map(|v| 0.02 * v).noisy(rng, |_| 2.0).frame());
    add("light 5 %", canvas().map(|v| 0.05 * v).frame());
    add("light 10 %, its noise", canvas().map(|v| 0.1 * v).noisy(rng, |v| (v + 1.0).sqrt()).frame());
    add("overexposed", canvas().map(|v| 4.0 * v + 60.0).frame());
    add("lower half black", canvas().painted(0.0, |_, y| y >= height / 2).frame());
    add("left half covered", canvas().painted(40.0, |x, _| x < width / 2).frame());
    add(SHOWS_ENOUGH[0], shifted(good, 0.5));
    add(SHOWS_ENOUGH[1], resized(other, good));
    cases
}

/// One more of the same kinds, drawn.
pub fn drawn(good: &Frame, rng: &mut ChaCha8Rng) -> Case {
    let canvas = || Canvas::of(good);
    let (width, height) = (good.width as usize, good.height as usize);
    // Of the recipe's picture, as 10 of 300 pixels.
    let side = good.width.min(good.height) as f32;
    match rng.random_range(0..10) {
        0 => {
            let v = rng.random_range(0..=255u8);
            (format!("flat {v}"), Canvas::like(good, |_, _| [f32::from(v); 3]).frame())
        }
        1 => {
            let rgb: [f32; 3] = std::array::from_fn(|_| *[0.0, 90.0, 255.0].choose(rng).unwrap());
            (format!("one colour {rgb:?}"), Canvas::like(good, |_, _| rgb).frame())
        }
        2 => {
            let (mean, deviation) = (rng.random_range(1.0..254.0), rng.random_range(0.5..25.0));
            (format!("noise {mean:.1}/{deviation:.1}"), noise(good, mean, deviation, rng))
        }
        3 => {
            let (a, b) = (rng.random_range(0.0..255.0f32), rng.random_range(0.0..255.0f32));
            let angle: f32 = rng.random_range(0.0..6.3);
            let along = |x: usize, y: usize| {
                let (x, y) = (x as f32 / width as f32 - 0.5, y as f32 / height as f32 - 0.5);
                (x * angle.cos() + y * angle.sin() + 0.71) / 1.42
            };
            (format!("gradient {a:.0} to {b:.0}"), Canvas::like(good, |x, y| [a + (b - a) * along(x, y); 3]).frame())
        }
        4 => {
            let sigma = rng.random_range(0.033..0.1) * side;
            (format!("defocus {sigma:.1}"), canvas().blurred(sigma).frame())
        }
        5 => {
            let light: f32 = rng.random_range(0.002..0.1);
            (format!("light {:.1} %", 100.0 * light), canvas().map(|v| light * v).frame())
        }
        6 => {
            let light: f32 = rng.random_range(0.005..0.1);
            let dim = canvas().map(|v| light * v);
            (format!("light {:.1} %, its noise", 100.0 * light), dim.noisy(rng, |v| (v + 1.0).sqrt()).frame())
        }
        7 => {
            let gain = rng.random_range(3.0..8.0);
            (format!("overexposed {gain:.1} times"), canvas().map(|v| gain * v + 60.0).frame())
        }
        8 => {
            let level = *[0.0, 1.0, 4.0].choose(rng).unwrap();
            let (is_lower, share) = (rng.random::<bool>(), rng.random_range(0.5..0.9));
            let hit = |_: usize, y: usize| reaches(y, height, share, is_lower);
            (format!("{share:.2} black, lower {is_lower}"), canvas().painted(level, hit).frame())
        }
        _ => {
            let level = rng.random_range(0.0..255.0);
            let (is_left, share) = (rng.random::<bool>(), rng.random_range(0.5..0.9));
            let hit = |x: usize, _: usize| reaches(x, width, share, !is_left);
            (format!("{share:.2} covered with {level:.0}, left {is_left}"), canvas().painted(level, hit).frame())
        }
    }
}
