//! The simulated belt's pictures: repeatable, varied, with an exact ground truth that a plain comparison does not find.

use zoomgate::frame::Frame;
use zoomgate::sim::baseline::MeanDifference;
use zoomgate::sim::render::{Scene, Want};
use zoomgate::sim::{DefectKind, PartSource, Rendered};

fn frame(part: Rendered) -> Frame {
    Frame::still(part.width, part.height, part.rgb)
}

fn mean(part: &Rendered) -> f64 {
    part.rgb.iter().map(|&v| f64::from(v)).sum::<f64>() / part.rgb.len() as f64
}

/// Every pixel where two pictures differ, with the largest difference of its channels.
fn differences<'a>(a: &'a Rendered, b: &'a Rendered) -> impl Iterator<Item = (u32, u32, u8)> + 'a {
    let pixels = a.rgb.chunks_exact(3).zip(b.rgb.chunks_exact(3)).enumerate();
    pixels.filter(|(_, (a, b))| a != b).map(move |(i, (p, q))| {
        let i = i as u32;
        let largest = p.iter().zip(q).map(|(p, q)| p.abs_diff(*q)).max();
        (i % a.width, i / a.width, largest.expect("3 channels"))
    })
}

#[test]
fn a_part_looks_the_same_whenever_it_is_asked_for() {
    let (scene, again) = (Scene::new(5, 160, 128, 0.5), Scene::new(5, 160, 128, 0.5));
    for index in [0, 1, 7, 1_000_000] {
        // The second scene renders in another order.
        again.render(index + 3);
        let (a, b) = (scene.render(index), again.render(index));
        assert_eq!((a.rgb, a.truth), (b.rgb, b.truth));
    }
    assert_ne!(scene.render_part(0, Want::Good).rgb, scene.render_part(1, Want::Good).rgb);
    assert_ne!(scene.render(0).rgb, Scene::new(6, 160, 128, 0.5).render(0).rgb);
}

#[test]
fn the_truth_is_exact_and_what_it_names_can_be_seen() {
    for (width, height) in [(640, 512), (320, 256), (333, 250), (500, 200), (200, 500)] {
        let scene = Scene::new(11, width, height, 0.3);
        for (kind, index) in DefectKind::ALL.into_iter().flat_map(|kind| (0..6).map(move |i| (kind, i))) {
            let good = scene.render_part(index, Want::Good);
            let bad = scene.render_part(index, Want::Defective(kind));
            assert_eq!(good.truth, []);
            let what = format!("{} of part {index} at {width}x{height}", kind.name());
            let [defect] = bad.truth[..] else { panic!("{what}: {} defects", bad.truth.len()) };
            assert_eq!(defect.kind, kind.name());
            let roi = defect.roi;
            assert!(roi.width > 0 && roi.x + roi.width <= width, "{what}: {roi:?}");
            assert!(roi.height > 0 && roi.y + roi.height <= height, "{what}: {roi:?}");
            let mut strongest = 0;
            for (x, y, difference) in differences(&good, &bad) {
                let is_inside = roi.contains(x, y);
                assert!(is_inside, "{what}: ({x}, {y}) differs outside {roi:?}");
                strongest = strongest.max(difference);
            }
            // Noise has a deviation of 1 to 2 levels; at 200 pixels a small defect is hardly a pixel wide.
            let visible = if width >= 320 { 20 } else { 8 };
            assert!(strongest >= visible, "{what}: at most {strongest} levels");
        }
    }
}

#[test]
fn defects_are_as_small_as_promised() {
    let scene = Scene::new(2, 320, 256, 1.0);
    let defects: Vec<_> = (0..150).flat_map(|index| scene.render(index).truth).collect();
    assert_eq!(defects.len(), 150);
    let mut usual = 0;
    for defect in &defects {
        assert!((0.01..=0.05).contains(&defect.width_fraction), "{defect:?}");
        usual += usize::from((0.015..=0.035).contains(&defect.width_fraction));
        // The rectangle may be shorter than a slanting scratch, and has a margin for the lens.
        let longer = f64::from(defect.roi.width.max(defect.roi.height));
        let extent = defect.width_fraction * 320.0;
        assert!(longer > 0.55 * extent && longer < 1.4 * extent + 6.0, "{defect:?}");
    }
    assert!(usual >= 105, "{usual} of 150 between 1.5 and 3.5 %");
    for kind in DefectKind::ALL {
        let count = defects.iter().filter(|d| d.kind == kind.name()).count();
        assert!(count >= 5, "{count} x {}", kind.name());
    }
}

#[test]
fn the_belt_brings_defects_at_its_rate() {
    let scene = Scene::new(9, 64, 51, 0.25);
    let mut defective = 0;
    for index in 0..400 {
        let part = scene.render(index);
        assert_eq!(scene.is_defective(index), !part.truth.is_empty());
        if part.truth.is_empty() && index < 40 {
            assert_eq!(part.rgb, scene.render_part(index, Want::Good).rgb);
        }
        defective += usize::from(!part.truth.is_empty());
    }
    // 100 expected, standard deviation 8.7.
    assert!((70..=130).contains(&defective), "{defective} of 400");
    assert!((0..50).all(|index| Scene::new(9, 64, 51, 0.0).render(index).truth.is_empty()));
}

#[test]
fn good_parts_vary_and_keep_their_detail() {
    let scene = Scene::new(4, 320, 256, 0.0);
    let parts: Vec<_> = (0..24).map(|index| scene.render(index)).collect();
    let means: Vec<f64> = parts.iter().map(mean).collect();
    let (low, high) = means.iter().fold((f64::MAX, 0.0f64), |(l, h), &m| (l.min(m), h.max(m)));
    assert!(high / low > 1.12, "light levels from {low:.1} to {high:.1}");
    for part in &parts {
        let clipped = part.rgb.iter().filter(|&&v| v == 0 || v == 255).count();
        assert!(clipped * 100 < part.rgb.len(), "{clipped} of {} values are clipped", part.rgb.len());
        let bright = part.rgb.chunks_exact(3).filter(|p| p[1] > 75).count() as f64 / (320.0 * 256.0);
        assert!((0.3..0.6).contains(&bright), "the plate fills {bright:.2} of the frame");
    }
    // No two share their position: an edge that one has elsewhere differs by tens of levels.
    let moved = differences(&parts[0], &parts[1]).filter(|d| d.2 > 40).count();
    assert!(moved > 500, "{moved} pixels differ strongly");
}

#[test]
fn the_mean_difference_does_not_find_small_defects_and_finds_gross_ones() {
    let scene = Scene::new(1, 320, 256, 1.0);
    let goods: Vec<_> = (0..40).map(|index| frame(scene.render_part(index, Want::Good))).collect();
    let baseline = MeanDifference::fit(&goods);
    let overkills = (100..140).filter(|&i| baseline.rejects(&frame(scene.render_part(i, Want::Good)))).count();
    assert!(overkills <= 8, "{overkills} of 40 good parts rejected");
    let escapes = (200..240).filter(|&i| !baseline.rejects(&frame(scene.render(i)))).count();
    assert!(escapes >= 20, "{escapes} of 40 defects escaped");
    let mut blotted = scene.render_part(300, Want::Good).rgb.to_vec();
    let band = 320 * 3 * 120..320 * 3 * 150;
    blotted[band].fill(255);
    assert!(baseline.rejects(&Frame::still(320, 256, blotted)));
}
