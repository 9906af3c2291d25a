//! Where in a picture lies what is drawn: measured of training pictures, and of those made like them.

use crate::Centre;

/// Where the ink of a picture lies, in pixels from its left and its top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// The longer side of the box around it.
    pub side: usize,
    /// Its centre of mass, to the right and down.
    pub mass: [f64; 2],
    /// The middle of the box around it.
    pub middle: [f64; 2],
}

impl Drawn {
    /// Measures ink, row by row, 0 at a blank pixel; `None` for a blank picture.
    ///
    /// ```
    /// use fireclay_model::Drawn;
    ///
    /// let drawn = Drawn::of([0.0, 1.0, 1.0, 0.0].into_iter(), 4).ok_or("no ink")?;
    /// assert_eq!((drawn.side, drawn.middle), (2, [2.0, 0.5]));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn of(ink: impl Iterator<Item = f64>, width: usize) -> Option<Self> {
        let (mut least, mut most) = ([usize::MAX; 2], [0; 2]);
        let (mut sum, mut moments) = (0.0, [0.0; 2]);
        for (at, value) in ink.enumerate().filter(|(_, value)| *value > 0.0) {
            sum += value;
            for (axis, place) in [at % width, at / width].into_iter().enumerate() {
                least[axis] = least[axis].min(place);
                most[axis] = most[axis].max(place + 1);
                moments[axis] += value * (place as f64 + 0.5);
            }
        }
        if sum == 0.0 {
            return None;
        }
        let middle = [0, 1].map(|axis| (least[axis] + most[axis]) as f64 / 2.0);
        let side = (most[0] - least[0]).max(most[1] - least[1]);
        Some(Self { side, mass: moments.map(|moment| moment / sum), middle })
    }

    /// How far it is from where it belongs, to the right and down, in a picture of these sides.
    ///
    /// Whoever moves by whole pixels brings a centre of mass to within half a pixel of the middle, or,
    /// as for MNIST, to within a pixel behind it: between both lies a quarter of a pixel.
    pub fn off_centre(&self, by: Centre, sides: [usize; 2]) -> [f64; 2] {
        let (found, behind) = match by {
            Centre::Mass => (self.mass, 0.25 * pixel(sides)),
            Centre::Box => (self.middle, 0.0),
        };
        [0, 1].map(|axis| found[axis] - sides[axis] as f64 / 2.0 - behind)
    }

    /// How far a centre may be off in a picture of these sides, in pixels.
    pub fn on_centre(sides: [usize; 2]) -> f64 {
        0.85 * pixel(sides)
    }

    /// Whether it is where it belongs.
    pub fn is_centred(&self, by: Centre, sides: [usize; 2]) -> bool {
        self.off_centre(by, sides).iter().all(|off| off.abs() <= Self::on_centre(sides))
    }

    /// Whether its longer side is this one, but for a pixel, in a picture of these sides.
    pub fn is_of_side(&self, side: usize, sides: [usize; 2]) -> bool {
        self.side.abs_diff(side) as f64 <= pixel(sides).ceil()
    }
}

/// The pixel by which whoever made a picture of these sides may have been off: that of MNIST, or what
/// became of it in a picture that was made larger.
fn pixel(sides: [usize; 2]) -> f64 {
    (sides[0].min(sides[1]) as f64 / 28.0).max(1.0)
}
