use super::*;

/// C2.
#[test]
fn a_fence_is_the_grants_time_in_microseconds() {
    let (slot, grant) = Slot::granted(&request(1));
    assert_eq!(grant.fence, Fence::from_u64(START.as_micros()));
    assert_eq!(grant.fence.granted_at(), slot.now);
}

/// C2 and P4.
#[test]
fn fences_rise_while_the_clock_stands_still() {
    let (mut slot, mut last) = Slot::granted(&request(1));
    for caller in 2..10 {
        slot.release(&last, Ending::Error, ReleaseMode::Free);
        let next = slot.grant(&request(caller));
        assert_eq!(next.fence.as_u64(), last.fence.as_u64() + 1);
        last = next;
    }
}

/// C2 and P4.
#[test]
fn fences_rise_when_the_clock_steps_back() {
    let (mut slot, first) = Slot::granted(&request(1));
    slot.release(&first, Ending::Error, ReleaseMode::Free);
    slot.now = slot.now.minus(Duration::from_secs(5));

    let second = slot.grant(&request(2));
    assert_eq!(second.fence.as_u64(), first.fence.as_u64() + 1);
}

/// C2: no counter that would fall behind the clock, and start again below it after a loss.
#[test]
fn fences_follow_the_clock_forward() {
    let (mut slot, first) = Slot::granted(&request(1));
    slot.release(&first, Ending::Error, ReleaseMode::Free);
    slot.pass(LEASE);
    assert_eq!(slot.grant(&request(2)).fence.granted_at(), slot.now);
}

/// C2 and P4: the store has lost the record, and with it the last fence.
#[test]
fn fences_rise_over_a_lost_record() {
    let (mut slot, first) = Slot::granted(&request(1));
    slot.record = None;
    slot.pass(MICRO);
    assert!(slot.grant(&request(2)).fence > first.fence);
}

/// C2: after a clean release nothing ran, and still a downstream can tell the two grants apart.
#[test]
fn fences_rise_after_a_clean_release() {
    let (mut slot, first) = Slot::granted(&request(1));
    slot.release(&first, Ending::Clean, ReleaseMode::Free);
    assert!(slot.grant(&request(2)).fence > first.fence);
}

/// C1c: a repeated claim is no new grant.
#[test]
fn the_same_grant_again_has_the_same_fence() {
    let (mut slot, first) = Slot::granted(&request(1));
    slot.pass(LEASE / 3);
    assert_eq!(slot.grant(&request(1)).fence, first.fence);
}

/// C2: the year is 2255 when the time in microseconds reaches 2^53.
#[test]
fn fences_fit_into_every_languages_numbers() {
    let (mut slot, first) = Slot::granted(&request(1));
    slot.release(&first, Ending::Error, ReleaseMode::Free);
    slot.pass(Duration::from_secs(60 * 60 * 24 * 365 * 200));
    assert!(slot.grant(&request(2)).fence.as_u64() < Fence::LIMIT);
}
