use super::*;
use crate::frame::motion::warped;

/// A plate with holes on a dark ground, with a gradient of light.
pub(in crate::inspect) fn part(width: u32, height: u32) -> Frame {
    let value = |x: u32, y: u32| {
        let (u, v) = (f64::from(x) / f64::from(width) - 0.5, f64::from(y) / f64::from(height) - 0.5);
        let hole = |cx: f64, cy: f64, r: f64| (u - cx).hypot(v - cy) < r;
        if hole(-0.2, -0.1, 0.06) || hole(0.15, 0.2, 0.09) {
            20.0
        } else if u.abs() < 0.34 && v.abs() < 0.3 {
            150.0 + 60.0 * u + 20.0 * (17.0 * v).sin()
        } else {
            30.0
        }
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    Frame::still(width, height, pixels.flat_map(|(x, y)| [value(x, y) as u8; 3]).collect::<Vec<u8>>())
}

pub(in crate::inspect) fn registration(frame: &Frame) -> Registration {
    Registration::new(&Grey::of(frame, &mut Scratch::default()), 0.5)
}

#[test]
fn shifts_and_turns_are_found_to_a_fraction_of_a_pixel() {
    let frame = part(320, 256);
    let r = registration(&frame);
    assert!(r.is_sound());
    let (pyramid, mut scratch) = (r.pyramid(), Scratch::default());
    for (dx, dy, degrees) in
        [(0.0, 0.0, 0.0), (5.0, -3.0, 0.0), (0.0, 0.0, 4.0), (-21.0, 13.0, -3.0), (30.0, 20.0, 7.5), (2.5, 0.7, 1.1)]
    {
        let lies = Motion { dx, dy, degrees };
        let placed = r.place(&pyramid, &warped(&frame, &lies), [320, 256], &mut scratch);
        assert!(placed.correlation > 0.97, "{placed:?} for {lies:?}");
        // Where a corner of the plate comes back to.
        for corner in [(60.0, 60.0), (260.0, 60.0), (160.0, 200.0)] {
            let there = lies.point(corner, 320.0, 256.0);
            let (x, y) = placed.correction.point(there, 320.0, 256.0);
            assert!((x - corner.0).hypot(y - corner.1) < 1.0, "{corner:?} to ({x}, {y}) for {lies:?}: {placed:?}");
        }
    }
}

#[test]
fn light_does_not_matter_and_another_product_is_not_trusted() {
    let frame = part(320, 256);
    let r = registration(&frame);
    let (pyramid, mut scratch) = (r.pyramid(), Scratch::default());
    let lies = Motion { dx: 12.0, dy: 6.0, degrees: 2.0 };
    let dark: Vec<u8> = warped(&frame, &lies).rgb.iter().map(|&v| v / 3 + 40).collect();
    let placed = r.place(&pyramid, &Frame::still(320, 256, dark), [320, 256], &mut scratch);
    assert!(r.is_trusted(&placed), "{placed:?}");
    assert!((placed.correction.degrees + 2.0).abs() < 0.2, "{placed:?}");
    let stripes: Vec<u8> = (0..320 * 256).flat_map(|i| [if i / 320 / 9 % 2 == 0 { 200 } else { 60 }; 3]).collect();
    for other in [stripes, vec![90; 320 * 256 * 3]] {
        let placed = r.place(&pyramid, &Frame::still(320, 256, other), [320, 256], &mut scratch);
        assert!(!r.is_trusted(&placed) && placed.correction.dx.is_finite(), "{placed:?}");
    }
}

#[test]
fn the_mean_of_moved_parts_is_the_part() {
    let frame = part(240, 240);
    let mut scratch = Scratch::default();
    let motions = [(0.0, 0.0, 0.0), (8.0, 3.0, 2.0), (-6.0, 5.0, -3.0), (3.0, -9.0, 1.0), (-4.0, -2.0, 4.0)];
    let pictures: Vec<Grey> = motions
        .iter()
        .map(|&(dx, dy, degrees)| Grey::of(&warped(&frame, &Motion { dx, dy, degrees }), &mut scratch))
        .collect();
    let (_, correlations) = mean_of(&pictures).unwrap();
    assert!(correlations.iter().all(|c| *c > 0.97), "{correlations:?}");
    assert!(mean_of(&pictures[..1]).is_none());
}
