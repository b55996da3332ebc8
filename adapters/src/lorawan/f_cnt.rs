//! The 32-bit frame counter from the 16 bits that go through the air (LoRaWAN 1.0.3, section 4.3.1.5).

/// Returns the lowest counter from `next` on whose low half is this.
pub(super) fn reconstruct(next: u32, low: u16) -> Option<u32> {
    let ahead = low.wrapping_sub(next as u16);
    next.checked_add(u32::from(ahead))
}

/// Returns the highest counter below `next` whose low half is this.
pub(super) fn reconstruct_past(next: u32, low: u16) -> Option<u32> {
    let behind = (next as u16).wrapping_sub(low);
    let behind = if behind == 0 { 0x1_0000 } else { u32::from(behind) };
    next.checked_sub(behind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // ChirpStack 4.20, storage/device.rs, its test of get_full_f_cnt_up: (next, as sent, whole), where the frame is ahead.
    #[test]
    fn a_counter_ahead_is_found_as_others_do() {
        let cases = [
            (1, 1, 1),
            (65_536, 0, 65_536),
            (65_537, 1, 65_537),
            (0, 1, 1),
            (65_537, 2, 65_538),
            (65_536, 65_535_u32, 131_071),
        ];
        for (next, sent, whole) in cases {
            assert_eq!(reconstruct(next, sent as u16), Some(whole), "{next} {sent}");
        }
    }

    // The same test, where the frame repeats the last one.
    #[test]
    fn a_counter_behind_is_found_as_others_do() {
        for (next, sent, whole) in [(2, 1, 1), (65_537, 0, 65_536), (65_536, 65_535_u32, 65_535)] {
            assert_eq!(reconstruct_past(next, sent as u16), Some(whole), "{next} {sent}");
        }
    }

    #[test]
    fn counters_end_where_they_end() {
        assert_eq!(reconstruct(u32::MAX, 0), None);
        assert_eq!(reconstruct_past(0, 0), None);
    }

    proptest! {
        #[test]
        fn the_low_half_is_kept(next in any::<u32>(), low in any::<u16>()) {
            let ahead = reconstruct(next, low);
            prop_assert!(ahead.is_none_or(|f_cnt| f_cnt >= next && f_cnt as u16 == low));
            let behind = reconstruct_past(next, low);
            prop_assert!(behind.is_none_or(|f_cnt| f_cnt < next && f_cnt as u16 == low));
        }
    }
}
