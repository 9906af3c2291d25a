//! The vector instructions of the machine, and the bodies compiled for each kind.
//!
//! The one module of this crate with `unsafe`.

use super::integers::{Codes, Dots, QUAD};
use super::packed::{LANES, Lanes};
use super::product::Sums;
use super::{Rows, Session, run};

/// The widest vector instructions that the machine has, of those that bodies are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// Those that every machine of this kind has.
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// With products of bytes.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Machine {
    /// The one that this program runs on.
    pub(super) fn detect() -> Self {
        Self::all().pop().unwrap_or(Self::Plain)
    }

    /// Those that this machine has, the widest last.
    pub(super) fn all() -> Vec<Self> {
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut, reason = "there are no others"))]
        let mut all = vec![Self::Plain];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let has_avx2 = has!("avx2") && has!("fma");
            if has_avx2 {
                all.push(Self::Avx2);
            }
            if has_avx2 && has!("avx512f") && has!("avx512vl") {
                all.push(Self::Avx512);
                if has!("avx512vnni") {
                    all.push(Self::Avx512Vnni);
                }
            }
        }
        all
    }

    /// Returns the most lanes of a panel, so that its sums stay in registers.
    pub(super) fn widest_panel(self) -> usize {
        match self {
            Self::Plain => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 4,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Avx512Vnni => 8,
        }
    }

    /// [`run`], with this machine's instructions.
    pub(super) fn run(self, session: &mut Session<'_>, rows: Rows<'_>) {
        match self {
            Self::Plain => run::<Plain, PlainDots>(session, rows),
            // SAFETY: this variant is made only where `all` found the features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2(session, rows) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::avx512(session, rows) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => unsafe { x86::avx512_vnni(session, rows) },
        }
    }
}

/// True if every machine of this kind rounds a product and its sum once.
const HAS_FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// Sums that the compiler finds instructions for.
#[derive(Clone, Copy)]
struct Plain(Lanes);

impl Sums for Plain {
    const ZERO: Self = Self(Lanes::ZERO);
    const IS_FUSED: bool = HAS_FUSED;
    const DENSE_LANES: usize = 1;

    #[inline(always)]
    fn load(from: &Lanes) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn add(mut self, value: f32, weights: &Lanes) -> Self {
        for (sum, weight) in self.0.0.iter_mut().zip(weights.0) {
            *sum = if HAS_FUSED { value.mul_add(weight, *sum) } else { *sum + value * weight };
        }
        self
    }

    #[inline(always)]
    fn store(self, into: &mut Lanes) {
        *into = self.0;
    }
}

/// Sums of integers that the compiler finds instructions for.
#[derive(Clone, Copy)]
pub(super) struct PlainDots([i32; LANES]);

impl Dots for PlainDots {
    const ZERO: Self = Self([0; LANES]);

    #[inline(always)]
    fn add(mut self, quad: u32, codes: &Codes) -> Self {
        let quad = quad.to_le_bytes().map(i32::from);
        let (codes, _) = codes.0.as_chunks::<QUAD>();
        for (sum, codes) in self.0.iter_mut().zip(codes) {
            let products = codes.iter().zip(quad).map(|(&code, byte)| i32::from(code) * byte);
            *sum += products.sum::<i32>();
        }
        self
    }

    #[inline(always)]
    fn store(self) -> [i32; LANES] {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Codes, Dots, LANES, Lanes, PlainDots, Rows, Session, Sums, run};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(session: &mut Session<'_>, rows: Rows<'_>) {
        run::<Avx2, PlainDots>(session, rows);
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
    pub(super) fn avx512(session: &mut Session<'_>, rows: Rows<'_>) {
        run::<Avx512, PlainDots>(session, rows);
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512vnni")]
    pub(super) fn avx512_vnni(session: &mut Session<'_>, rows: Rows<'_>) {
        run::<Avx512, Vnni>(session, rows);
    }

    /// Of [`avx512_vnni`] alone.
    #[derive(Clone, Copy)]
    struct Vnni(__m512i);

    impl Dots for Vnni {
        // SAFETY: all bits zero is a vector of zeros.
        const ZERO: Self = Self(unsafe { std::mem::zeroed() });

        #[inline(always)]
        fn add(self, quad: u32, codes: &Codes) -> Self {
            // SAFETY: `avx512_vnni` alone uses this type, so the machine has the instructions; the
            // codes are as many as are read, and aligned.
            unsafe {
                let codes = _mm512_load_si512(codes.0.as_ptr().cast());
                Self(_mm512_dpbusd_epi32(self.0, _mm512_set1_epi32(quad.cast_signed()), codes))
            }
        }

        #[inline(always)]
        fn store(self) -> [i32; LANES] {
            let mut sums = [0; LANES];
            // SAFETY: as for `add`; the sums are as many as are written.
            unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), self.0) };
            sums
        }
    }

    /// Of [`avx2`] alone.
    #[derive(Clone, Copy)]
    struct Avx2([__m256; 2]);

    impl Sums for Avx2 {
        // SAFETY: all bits zero is a vector of zeros.
        const ZERO: Self = Self(unsafe { std::mem::zeroed() });
        const IS_FUSED: bool = true;
        const DENSE_LANES: usize = 1;

        #[inline(always)]
        fn load(from: &Lanes) -> Self {
            let from = from.0.as_ptr();
            // SAFETY: as for `add`; both halves of the lanes are read.
            unsafe { Self([_mm256_load_ps(from), _mm256_load_ps(from.add(LANES / 2))]) }
        }

        #[inline(always)]
        fn add(self, value: f32, weights: &Lanes) -> Self {
            let Self([low, high]) = self;
            let weights = weights.0.as_ptr();
            // SAFETY: `avx2` alone uses this type, so the machine has the instructions; both halves
            // of the lanes are read, which are aligned.
            unsafe {
                let value = _mm256_set1_ps(value);
                Self([
                    _mm256_fmadd_ps(value, _mm256_load_ps(weights), low),
                    _mm256_fmadd_ps(value, _mm256_load_ps(weights.add(LANES / 2)), high),
                ])
            }
        }

        #[inline(always)]
        fn store(self, into: &mut Lanes) {
            let into = into.0.as_mut_ptr();
            // SAFETY: as for `add`; both halves of the lanes are written.
            unsafe {
                _mm256_store_ps(into, self.0[0]);
                _mm256_store_ps(into.add(LANES / 2), self.0[1]);
            }
        }
    }

    /// Of [`avx512`] and [`avx512_vnni`], which has all of its instructions.
    #[derive(Clone, Copy)]
    struct Avx512(__m512);

    impl Sums for Avx512 {
        // SAFETY: all bits zero is a vector of zeros.
        const ZERO: Self = Self(unsafe { std::mem::zeroed() });
        const IS_FUSED: bool = true;
        const DENSE_LANES: usize = 4;

        #[inline(always)]
        fn load(from: &Lanes) -> Self {
            // SAFETY: as for `add`.
            unsafe { Self(_mm512_load_ps(from.0.as_ptr())) }
        }

        #[inline(always)]
        fn add(self, value: f32, weights: &Lanes) -> Self {
            // SAFETY: `avx512` and `avx512_vnni` alone use this type, so the machine has the
            // instructions; the lanes are as many as are read, and aligned.
            unsafe {
                let weights = _mm512_load_ps(weights.0.as_ptr());
                Self(_mm512_fmadd_ps(_mm512_set1_ps(value), weights, self.0))
            }
        }

        #[inline(always)]
        fn store(self, into: &mut Lanes) {
            // SAFETY: as for `add`; the lanes are as many as are written.
            unsafe { _mm512_store_ps(into.0.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn gather(row: &[f32], first: u32, indices: &mut [u32], values: &mut [f32]) -> usize {
            let (chunks, rest) = row.as_chunks::<LANES>();
            let mut count = 0;
            // SAFETY: as for `add`.
            let (step, zero) = unsafe { (_mm512_set1_epi32(LANES as i32), _mm512_setzero_ps()) };
            // SAFETY: as for `add`.
            let mut index = unsafe {
                let from_0 = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
                _mm512_add_epi32(from_0, _mm512_set1_epi32(first as i32))
            };
            for chunk in chunks {
                let indices: &mut [u32] = &mut indices[count..][..LANES];
                let values: &mut [f32] = &mut values[count..][..LANES];
                // SAFETY: as for `add`; as many inputs are read, and as many places written, as the
                // three slices have.
                unsafe {
                    let inputs = _mm512_loadu_ps(chunk.as_ptr());
                    let kept = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(inputs, zero);
                    let packed = _mm512_maskz_compress_ps(kept, inputs);
                    _mm512_storeu_ps(values.as_mut_ptr(), packed);
                    let packed = _mm512_maskz_compress_epi32(kept, index);
                    _mm512_storeu_epi32(indices.as_mut_ptr().cast(), packed);
                    index = _mm512_add_epi32(index, step);
                    count += kept.count_ones() as usize;
                }
            }
            for (index, &value) in (first + (row.len() - rest.len()) as u32..).zip(rest) {
                indices[count] = index;
                values[count] = value;
                count += usize::from(value != 0.0);
            }
            count
        }
    }
}
