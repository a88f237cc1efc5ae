//! A verdict as one picture that a person can read.
//!
//! ```text
//! frame, heatmap, crop boxes │ the first crop enlarged, its own heatmap │ legend
//! verdict   score against threshold      one bar for each evidence      file, note      attention
//! ```
//!
//! For display only: nothing here takes part in a decision.

mod heat;

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_7X13, FONT_7X13_BOLD, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::primitives::{Primitive, PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};
use embedded_graphics::{Drawable, primitives};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

pub use heat::Heat;

use crate::frame::Frame;
use crate::frame::geometry::{Roi, View};

/// A crop to be shown: where it lies, and the map of what was seen there.
#[derive(Clone, Copy, Debug)]
pub struct Zoom<'a> {
    /// The crop in frame pixels.
    pub roi: Roi,
    /// The crop's map.
    pub heat: Option<Heat<'a>>,
}

/// The colour of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Green: the part passed.
    Good,
    /// Red: the part was rejected.
    Bad,
    /// Amber: the part was not inspected.
    Unsure,
}

/// One bar below the picture.
#[derive(Clone, Copy, Debug)]
pub struct Bar<'a> {
    /// What it shows, for example `normality`.
    pub name: &'a str,
    /// Its value; `None` is written as `not taught`.
    pub value: Option<f32>,
    /// The value that the mark in the middle of the bar stands for, above 0.
    pub limit: f32,
}

/// What the caption says.
#[derive(Clone, Copy, Debug)]
pub struct Caption<'a> {
    /// The verdict in words, for example `REJECT`.
    pub verdict: &'a str,
    /// Its colour.
    pub tone: Tone,
    /// The fused score, in standard deviations of good parts; `None` where there is none.
    pub score: Option<f32>,
    /// The score from which a part is rejected.
    pub threshold: f32,
    /// Up to three evidences.
    pub evidence: &'a [Bar<'a>],
    /// The picture's name; shortened at its beginning if it is too long.
    pub file: &'a str,
    /// Anything else in a few words, or nothing.
    pub note: &'a str,
}

const MARGIN: u32 = 12;
const LABEL_HEIGHT: u32 = 18;
const LEGEND_WIDTH: u32 = 64;
const CAPTION_HEIGHT: u32 = 104;
/// Pictures are enlarged or reduced to fit these, so that small ones can be read and large ones fit a screen.
const FRAME_BOX: (u32, u32) = (640, 512);
const ZOOM_BOX: (u32, u32) = (512, 512);
/// The attention is a small picture beside the caption: where, and not how much, is what it tells.
const ATTENTION_BOX: (u32, u32) = (120, 74);
/// Cells that are listened to so many times as much as the average have the hottest colour.
const ATTENTION_HOT: f32 = 6.0;
/// The caption's texts need this much.
const WIDTH_MIN: u32 = 840;

const BACKGROUND: Rgb888 = Rgb888::new(24, 26, 29);
const PALE: Rgb888 = Rgb888::new(226, 228, 230);
const FAINT: Rgb888 = Rgb888::new(140, 146, 152);
const TROUGH: Rgb888 = Rgb888::new(58, 62, 68);
const CROP: Rgb888 = Rgb888::new(64, 224, 255);

/// Draws a verdict; returns a picture of at most 1,300 x 700 pixels.
///
/// * `full` — the full image's map, laid over the whole frame.
/// * `zooms` — crops, most suspicious first; all are outlined, the first is enlarged on the right.
/// * `attention` — how much the head listens to each cell, in multiples of the average; small, at the bottom.
///
/// The colours run from 0 to twice the threshold on every picture, so that pictures can be compared: a quiet part stays
/// uncoloured, a white line surrounds what is beyond the threshold. (Where the threshold is not above 0, they run to the
/// maps' peak.) Takes some 40 ms: not for the inspection thread.
///
/// # Panics
/// If a map's length is not its width times its height.
pub fn draw(
    frame: &Frame,
    full: Option<Heat<'_>>,
    zooms: &[Zoom<'_>],
    attention: Option<Heat<'_>>,
    caption: &Caption<'_>,
) -> RgbImage {
    let source = RgbImage::from_raw(frame.width, frame.height, frame.rgb.to_vec())
        .expect("a frame holds width * height * 3 bytes");
    let whole = Roi::whole(frame.width, frame.height);
    let zoom = zooms.first().and_then(|z| Some(Zoom { roi: inside(z.roi, whole)?, ..*z }));
    let hot = if caption.threshold > 0.0 {
        2.0 * caption.threshold
    } else {
        full.iter().chain(zoom.iter().filter_map(|z| z.heat.as_ref())).map(Heat::peak).fold(0.0, f32::max)
    };

    let left = panel(&source, whole, full, hot, FRAME_BOX);
    let right = zoom.map(|z| panel(&source, z.roi, z.heat, hot, ZOOM_BOX));
    let zoom_width = right.as_ref().map_or(0, |r| r.width() + MARGIN);
    let panels_height = left.height().max(right.as_ref().map_or(0, RgbImage::height)).max(120);
    let width = (MARGIN + left.width() + MARGIN + zoom_width + LEGEND_WIDTH + MARGIN).max(WIDTH_MIN);
    let top = MARGIN + LABEL_HEIGHT;
    let mut canvas = Canvas::new(width, top + panels_height + MARGIN + CAPTION_HEIGHT);

    canvas.text(MARGIN, MARGIN, &format!("frame {} x {}", frame.width, frame.height), &FONT_7X13, FAINT);
    canvas.place(&left, MARGIN, top);
    let scale = f64::from(left.width()) / f64::from(frame.width);
    for (i, z) in zooms.iter().enumerate().rev() {
        if let Some(roi) = inside(z.roi, whole) {
            canvas.outline(roi, scale, (MARGIN, top), if i == 0 { 2 } else { 1 });
        }
    }
    let mut x = MARGIN + left.width() + MARGIN;
    if let (Some(zoom), Some(right)) = (zoom, right) {
        let Roi { x: roi_x, y: roi_y, width, height } = zoom.roi;
        canvas.text(x, MARGIN, &format!("zoom {width} x {height} at {roi_x}, {roi_y}"), &FONT_7X13, CROP);
        canvas.place(&right, x, top);
        x += right.width() + MARGIN;
    }
    if full.is_some() || zoom.is_some_and(|z| z.heat.is_some()) {
        canvas.legend(x, top, panels_height.min(320), hot);
    }
    let below = top + panels_height + MARGIN;
    let attention = attention.map(|heat| panel(&source, whole, Some(heat), ATTENTION_HOT, ATTENTION_BOX));
    let mut room = width;
    if let Some(attention) = attention {
        room -= attention.width() + MARGIN;
        canvas.text(room, below, "attention", &FONT_7X13, FAINT);
        canvas.place(&attention, room, below + LABEL_HEIGHT);
    }
    canvas.caption(below, room, caption);
    canvas.0
}

/// The part of the frame that `roi` shows, resized into a box and coloured.
fn panel(
    source: &RgbImage,
    roi: Roi,
    heat: Option<Heat<'_>>,
    hot: f32,
    (box_width, box_height): (u32, u32),
) -> RgbImage {
    let (width, height) = (f64::from(roi.width), f64::from(roi.height));
    let scale = (f64::from(box_width) / width).min(f64::from(box_height) / height);
    let [width, height] = [width, height].map(|side| ((side * scale).round() as u32).max(1));
    let filter = if scale > 1.0 { FilterType::CatmullRom } else { FilterType::Triangle };
    let shown = imageops::crop_imm(source, roi.x, roi.y, roi.width, roi.height).to_image();
    let mut picture = imageops::resize(&shown, width, height, filter);
    if let Some(heat) = heat {
        let shown = View { x: roi.x.into(), y: roi.y.into(), width: roi.width.into(), height: roi.height.into() };
        heat.lay_over(&mut picture, shown, hot);
    }
    picture
}

/// The part of `roi` that lies inside the frame, if any.
fn inside(roi: Roi, frame: Roi) -> Option<Roi> {
    let (x, y) = (roi.x.min(frame.width), roi.y.min(frame.height));
    let (width, height) = (roi.width.min(frame.width - x), roi.height.min(frame.height - y));
    (width > 0 && height > 0).then_some(Roi { x, y, width, height })
}

/// The picture being drawn, as embedded-graphics sees it.
struct Canvas(RgbImage);

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        Self(RgbImage::from_pixel(width, height, Rgb([BACKGROUND.r(), BACKGROUND.g(), BACKGROUND.b()])))
    }

    fn place(&mut self, picture: &RgbImage, x: u32, y: u32) {
        imageops::replace(&mut self.0, picture, x.into(), y.into());
    }

    /// Writes one line with its upper left corner at (x, y) and returns its width; letters that the font lacks become
    /// question marks.
    fn text(&mut self, x: u32, y: u32, text: &str, font: &MonoFont<'_>, colour: Rgb888) -> u32 {
        let text = Text::with_baseline(text, point(x, y), MonoTextStyle::new(font, colour), Baseline::Top);
        let width = text.bounding_box().size.width;
        never_fails(text.draw(self));
        width
    }

    fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, colour: Rgb888) {
        let area = Rectangle::new(point(x, y), Size::new(width, height));
        never_fails(area.into_styled(PrimitiveStyle::with_fill(colour)).draw(self));
    }

    /// A crop's box on the enlarged frame, around its pixels and not over them.
    fn outline(&mut self, roi: Roi, scale: f64, (left, top): (u32, u32), stroke: u32) {
        let on_panel = |v: u32| (f64::from(v) * scale).round() as i32;
        let (x0, y0) = (on_panel(roi.x), on_panel(roi.y));
        let (x1, y1) = (on_panel(roi.x + roi.width), on_panel(roi.y + roi.height));
        let corner = Point::new(left as i32 + x0, top as i32 + y0);
        let area = Rectangle::new(corner, Size::new((x1 - x0) as u32, (y1 - y0) as u32));
        let style = primitives::PrimitiveStyleBuilder::new()
            .stroke_color(CROP)
            .stroke_width(stroke)
            .stroke_alignment(primitives::StrokeAlignment::Inside)
            .build();
        never_fails(area.into_styled(style).draw(self));
    }

    /// The colour scale, as opaque as it is on the picture, with its middle (the threshold) marked.
    fn legend(&mut self, x: u32, y: u32, height: u32, hot: f32) {
        const BAR: u32 = 14;
        // A machined part's grey stands for the picture below the colours.
        let picture = Rgb([128, 128, 128]);
        for row in 0..height {
            let t = 1.0 - (row as f32 + 0.5) / height as f32;
            let Rgb([r, g, b]) = heat::blend(picture, heat::colour(t), heat::opacity(t));
            self.fill(x, y + row, BAR, 1, Rgb888::new(r, g, b));
        }
        self.fill(x, y + height / 2, BAR + 4, 2, PALE);
        let numbers = [(0, hot, FAINT), (height / 2 - 6, hot * 0.5, PALE), (height - 13, 0.0, FAINT)];
        for (row, value, colour) in numbers {
            self.text(x + BAR + 6, y + row, &format!("{value:.1}"), &FONT_7X13, colour);
        }
    }

    /// The caption's lines, on the first `width` pixels.
    fn caption(&mut self, y: u32, width: u32, caption: &Caption<'_>) {
        let colour = match caption.tone {
            Tone::Good => Rgb888::new(46, 160, 84),
            Tone::Bad => Rgb888::new(214, 58, 52),
            Tone::Unsure => Rgb888::new(222, 158, 32),
        };
        let verdict_width = caption.verdict.chars().count() as u32 * 10;
        self.fill(MARGIN, y, verdict_width + 20, 30, colour);
        self.text(MARGIN + 10, y + 5, caption.verdict, &FONT_10X20, Rgb888::WHITE);
        let score = match caption.score {
            Some(score) if score >= caption.threshold => {
                format!("score {score:.2} >= threshold {:.2}", caption.threshold)
            }
            Some(score) => format!("score {score:.2} < threshold {:.2}", caption.threshold),
            None => format!("no score (threshold {:.2})", caption.threshold),
        };
        self.text(MARGIN + verdict_width + 34, y + 5, &score, &FONT_10X20, PALE);

        let bars_width = (width / 2).min(440);
        for (bar, row) in caption.evidence.iter().take(3).zip(0u32..) {
            self.bar(MARGIN, y + 42 + row * 19, bars_width, bar);
        }
        let x = MARGIN + bars_width + 2 * MARGIN;
        let letters = (width - x - MARGIN) as usize / 7;
        self.text(x, y + 42, &shortened(caption.file, letters), &FONT_7X13_BOLD, PALE);
        self.text(x, y + 61, &shortened(caption.note, letters), &FONT_7X13, FAINT);
    }

    /// Name, trough with the limit's mark in its middle, value.
    fn bar(&mut self, x: u32, y: u32, width: u32, bar: &Bar<'_>) {
        const NAME_WIDTH: u32 = 84;
        const VALUE_WIDTH: u32 = 84;
        let trough = width - NAME_WIDTH - VALUE_WIDTH;
        self.text(x, y, bar.name, &FONT_7X13, FAINT);
        let x = x + NAME_WIDTH;
        self.fill(x, y + 2, trough, 9, TROUGH);
        if let Some(value) = bar.value {
            let share = (value / (2.0 * bar.limit)).clamp(0.0, 1.0);
            let colour = if value >= bar.limit { Rgb888::new(232, 92, 60) } else { Rgb888::new(92, 168, 220) };
            self.fill(x, y + 2, (share * trough as f32) as u32, 9, colour);
        }
        self.fill(x + trough / 2, y, 2, 13, PALE);
        let value = bar.value.map_or_else(|| "not taught".to_owned(), |value| format!("{value:.2}"));
        self.text(x + trough + 8, y, &value, &FONT_7X13, PALE);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, colour) in pixels {
            // What lies outside is clipped, as embedded-graphics asks of a target.
            if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
                && let Some(pixel) = self.0.get_pixel_mut_checked(x, y)
            {
                *pixel = Rgb([colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

fn never_fails<T>(drawn: Result<T, Infallible>) {
    match drawn {
        Ok(_) => {}
    }
}

fn point(x: u32, y: u32) -> Point {
    Point::new(x as i32, y as i32)
}

/// The last `letters` of a text, with dots in place of what is missing.
fn shortened(text: &str, letters: usize) -> String {
    let count = text.chars().count();
    if count <= letters {
        return text.to_owned();
    }
    let kept = letters.saturating_sub(3);
    format!("...{}", text.chars().skip(count - kept).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Caption<'_> = Caption {
        verdict: "PASS",
        tone: Tone::Good,
        score: Some(0.8),
        threshold: 3.0,
        evidence: &[Bar { name: "normality", value: Some(0.8), limit: 3.0 }],
        file: "part.png",
        note: "",
    };

    fn grey(width: u32, height: u32) -> Frame {
        Frame::still(width, height, vec![120u8; (width * height * 3) as usize])
    }

    /// Pixels whose channels differ by more than `spread`.
    fn colourful(picture: &RgbImage, spread: u8) -> usize {
        let spread_of = |p: &Rgb<u8>| p.0.iter().max().zip(p.0.iter().min()).map_or(0, |(a, b)| a - b);
        picture.pixels().filter(|p| spread_of(p) > spread).count()
    }

    #[test]
    fn every_frame_size_gives_a_picture_that_can_be_read() {
        for (width, height) in [(120, 80), (640, 512), (60, 150), (1, 1), (1500, 90), (900, 1200)] {
            let roi = Roi { x: width / 4, y: height / 4, width: width.div_ceil(4), height: height.div_ceil(4) };
            let frame = grey(width, height);
            let alone = draw(&frame, None, &[], None, &QUIET);
            let zoomed = draw(&frame, None, &[Zoom { roi, heat: None }], None, &QUIET);
            for picture in [&alone, &zoomed] {
                let (w, h) = picture.dimensions();
                assert!((840..=1300).contains(&w) && (250..=700).contains(&h), "{width}x{height} gave {w}x{h}");
            }
            // Green badge, blue bar.
            assert!(colourful(&alone, 60) > 1500, "{width}x{height}");
        }
    }

    #[test]
    fn only_what_is_hot_is_coloured() {
        let frame = grey(100, 80);
        let view = View { x: 0.0, y: 0.0, width: 100.0, height: 80.0 };
        let panel_colours = |map: &[f32]| {
            let picture = draw(&frame, Some(Heat { map, width: 5, height: 4, view }), &[], None, &QUIET);
            colourful(&imageops::crop_imm(&picture, MARGIN, MARGIN + LABEL_HEIGHT, 640, 512).to_image(), 20)
        };
        let mut map = [0.5f32; 20];
        assert_eq!(panel_colours(&map), 0);
        map[7] = 6.0;
        // One cell of 20, spread by interpolation.
        let coloured = panel_colours(&map);
        assert!((8_000..60_000).contains(&coloured), "{coloured} of {}", 640 * 512);
    }

    #[test]
    fn crops_are_outlined_where_they_lie_and_clipped_to_the_frame() {
        let frame = grey(640, 512);
        let beyond = Roi { x: 700, y: 600, width: 10, height: 10 };
        let across = Roi { x: 600, y: 480, width: 100, height: 100 };
        let first = Roi { x: 100, y: 50, width: 160, height: 128 };
        let zooms = [first, across, beyond].map(|roi| Zoom { roi, heat: None });
        let picture = draw(&frame, None, &zooms, None, &QUIET);
        let at = |x: u32, y: u32| picture.get_pixel(MARGIN + x, MARGIN + LABEL_HEIGHT + y).0;
        let crop = [CROP.r(), CROP.g(), CROP.b()];
        assert_eq!((at(100, 50), at(259, 177), at(600, 490), at(639, 490)), (crop, crop, crop, crop));
        assert_eq!((at(98, 50), at(180, 110), at(590, 490)), ([120; 3], [120; 3], [120; 3]));
    }

    #[test]
    fn what_is_listened_to_is_shown_at_the_bottom() {
        let frame = grey(160, 80);
        let view = View { x: 0.0, y: 0.0, width: 160.0, height: 80.0 };
        let mut map = [0.5f32; 8];
        map[3] = 4.5;
        let attention = Heat { map: &map, width: 4, height: 2, view };
        let picture = draw(&frame, None, &[], Some(attention), &QUIET);
        let (w, h) = picture.dimensions();
        let (top, left) = (h - CAPTION_HEIGHT + LABEL_HEIGHT, w - MARGIN - 120);
        let shown = imageops::crop_imm(&picture, left, top, 120, 60).to_image();
        let half = |x: u32| colourful(&imageops::crop_imm(&shown, x, 0, 60, 60).to_image(), 20);
        assert!(half(60) > 400 && half(0) == 0, "{} and {}", half(0), half(60));
        assert_eq!(draw(&frame, None, &[], None, &QUIET).dimensions(), (w, h));
    }

    #[test]
    fn a_verdict_changes_the_picture() {
        let frame = grey(200, 160);
        let reject = Caption { verdict: "REJECT", tone: Tone::Bad, score: Some(4.0), ..QUIET };
        let unsure = Caption { verdict: "UNINSPECTED", tone: Tone::Unsure, score: None, ..QUIET };
        let pictures = [QUIET, reject, unsure].map(|caption| draw(&frame, None, &[], None, &caption));
        assert!(pictures[0] != pictures[1] && pictures[1] != pictures[2] && pictures[0] != pictures[2]);
    }

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(shortened("a/b/part.png", 40), "a/b/part.png");
        assert_eq!(shortened("lessons/good/part.png", 11), "...part.png");
        assert_eq!(shortened("\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}", 4), "...\u{fc}");
    }
}
