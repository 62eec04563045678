//! Room on the host for the values of one call, between protobuf and the guest.
//!
//! `limits.host_copy` says what one call may have; the host's budget for values bounds all calls
//! together. Before a request is decoded, room is set aside for the values that so many bytes may
//! become, and decoding takes no more; a request that becomes more is decoded again in all that the
//! spec allows. Small requests need none: what every call may have is enough for them.
//!
//! Before the guest runs, room for its call is reserved, and the answer may take no more than that.
//! While half of the module's part is free that is all that the spec allows. Of the other half a
//! call gets what its request takes and its answer is likely to take, and waits until there is so
//! much: a call is turned away before the guest has begun, not after.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use roadstead_domain::{Fault, LimitKind, LimitReached, Limits};
use roadstead_transcode::CopyBudget;
use tokio::time::timeout;

use crate::{
    gate::{Ask, Lane, Taken},
    overload,
    remote::AnswerRoom,
};

/// What every call may have: about what short texts and small records take. It is counted with
/// the memory of the instance that serves the call, so that small calls never wait for large ones.
pub(crate) const LITTLE: u64 = 2 << 20;

/// What a byte of a message may take as a value: one of a list of bytes or of truth values takes
/// about so much.
const VALUE_OF_BYTE: u64 = 64;

/// How long a call waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits for the most, where nothing is known of the module's answers.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);

/// No answer was seen yet, or the last one did not fit.
const UNKNOWN: u64 = u64::MAX;

/// One module's part of the host's budget for values, and what its answers usually take of it.
pub(crate) struct Values {
    lane: Lane,
    usual: AtomicU64,
}

/// The values of one call and what is reserved for them.
pub(crate) struct Room {
    values: Arc<Values>,
    /// Given back on drop.
    reserved: Option<Taken>,
    /// What the call may have where no other runs.
    most: u64,
    /// What the spec says.
    host_copy: u64,
    output: u64,
    granted: u64,
}

impl Values {
    pub(crate) fn new(lane: Lane) -> Arc<Self> {
        Arc::new(Self { lane, usual: AtomicU64::new(UNKNOWN) })
    }

    pub(crate) fn set_weight(&self, weight: u64) {
        self.lane.set_weight(weight);
    }

    /// For messages that are passed on as they are.
    pub(crate) fn answers(&self) -> AnswerRoom {
        AnswerRoom::new(&self.lane)
    }

    fn usual(&self) -> Option<u64> {
        Some(self.usual.load(Ordering::Relaxed)).filter(|usual| *usual != UNKNOWN)
    }

    /// Raises what is usual at once and lowers it slowly.
    fn answered(&self, taken: u64) {
        let usual = self.usual().map_or(0, |mark| mark - mark / 16);
        self.usual.store(usual.max(taken), Ordering::Relaxed);
    }
}

impl Room {
    pub(crate) fn new(values: &Arc<Values>, limits: &Limits) -> Self {
        let host_copy = limits.host_copy.0;
        let most = host_copy.min((values.lane.largest() / 2).max(LITTLE));
        let (values, output) = (Arc::clone(values), limits.output.most().0);
        Self { values, reserved: None, most, host_copy, output, granted: most }
    }

    /// Sets room aside for decoding a request of so many bytes, and waits for it if that is much.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if there was no room for long.
    pub(crate) async fn begin(&mut self, request: usize) -> Result<(), Fault> {
        let bytes = u64::try_from(request).unwrap_or(u64::MAX);
        let values = bytes.saturating_mul(VALUE_OF_BYTE).min(self.most);
        if values <= LITTLE {
            self.granted = self.most.min(LITTLE);
            return Ok(());
        }
        Box::pin(self.set_aside(values)).await
    }

    /// Whether a request that failed like this may fit into all that the spec allows.
    pub(crate) fn may_widen(&self, fault: &Fault) -> bool {
        let too_large =
            matches!(fault, Fault::Limit(reached) if reached.limit == LimitKind::HostCopy);
        too_large && self.granted < self.most
    }

    /// Waits for all that the spec allows, for a request that became more than was set aside.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if there was no room for long.
    pub(crate) async fn widen(&mut self) -> Result<(), Fault> {
        Box::pin(self.set_aside(self.most)).await
    }

    /// Waits for so much, holding nothing meanwhile.
    async fn set_aside(&mut self, count: u64) -> Result<(), Fault> {
        self.reserved = None;
        let ask = Ask { count, most: u64::MAX };
        let granted = self.take(ask) || self.wait(ask, PATIENCE).await;
        if granted { Ok(()) } else { Err(overload::values()) }
    }

    /// What the call may have now.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// Takes all that the spec allows, if it is more than the call has and free.
    pub(crate) fn try_widen(&mut self) -> bool {
        self.granted < self.most && self.take(Ask { count: self.most, most: u64::MAX })
    }

    /// For the request.
    pub(crate) fn decoding(&self) -> CopyBudget {
        CopyBudget::new(self.granted)
    }

    /// Reserves room for a call whose request takes `used`, if there is as much as it may need. What
    /// was set aside for decoding becomes a part of it, or is given back.
    pub(crate) fn try_reserve(&mut self, used: u64) -> bool {
        if self.take(self.all()) {
            return true;
        }
        let Some(usual) = self.values.usual() else { return false };
        let likely = self.likely(used, usual);
        self.is_little(likely) || self.take(likely)
    }

    /// Waits for what the call may need, holding nothing meanwhile: the request is decoded anew
    /// afterwards. One whose answer is not known waits for a moment only, lest a module that never
    /// answered could be kept from ever doing so.
    ///
    /// # Errors
    /// [`Fault::Overloaded`] if there was no room for long.
    pub(crate) async fn reserve(&mut self, used: u64) -> Result<(), Fault> {
        self.reserved = None;
        let usual = self.values.usual();
        if usual.is_none() && self.wait(self.all(), FIRST_PATIENCE).await {
            return Ok(());
        }
        let likely = self.likely(used, usual.unwrap_or(0));
        let granted = self.is_little(likely) || self.wait(likely, PATIENCE).await;
        if granted { Ok(()) } else { Err(overload::values()) }
    }

    async fn wait(&mut self, ask: Ask, patience: Duration) -> bool {
        let Some(waiting) = self.values.lane.join(ask, u64::MAX) else { return false };
        let granted = timeout(patience, waiting.granted()).await.ok().flatten();
        granted.is_some_and(|taken| self.hold(taken))
    }

    /// Makes what is reserved as much as is asked for, without waiting.
    fn take(&mut self, ask: Ask) -> bool {
        let Some(taken) = &mut self.reserved else {
            let taken = self.values.lane.try_take(ask);
            return taken.is_ok_and(|taken| self.hold(taken));
        };
        let more = ask.count.saturating_sub(taken.count());
        if self.values.lane.lacks(Ask { count: more, ..ask }).is_some()
            || taken.grow_to(ask.count, ask.most).is_err()
        {
            return false;
        }
        taken.shrink_to(ask.count);
        self.granted = ask.count;
        true
    }

    fn hold(&mut self, taken: Taken) -> bool {
        self.granted = taken.count();
        self.reserved = Some(taken);
        true
    }

    /// Grants what needs no room but that of the instance.
    fn is_little(&mut self, ask: Ask) -> bool {
        let little = ask.count <= LITTLE;
        if little {
            self.reserved = None;
            self.granted = ask.count;
        }
        little
    }

    /// All that the spec allows, where half of the module's part stays free.
    fn all(&self) -> Ask {
        Ask { count: self.most, most: self.values.lane.largest() / 2 }
    }

    /// The answer is likely to be a little more than the request, or what is usual; it stands
    /// there as values and as a message at once.
    fn likely(&self, used: u64, usual: u64) -> Ask {
        let values = usual.max(used.saturating_add(used / 4));
        let answer = values.saturating_add(values.min(self.output));
        let needed = used.saturating_add(answer).saturating_add(LITTLE / 2);
        Ask { count: needed.min(self.most), most: u64::MAX }
    }

    /// What is left for the answer of a call whose request takes `used`.
    pub(crate) fn answering(&self, used: u64) -> CopyBudget {
        let mut left = CopyBudget::new(self.granted);
        // It was granted with this in mind.
        left.take(usize::try_from(used).unwrap_or(usize::MAX)).ok();
        left
    }

    /// The guest answered with a message of so many bytes.
    pub(crate) fn answered(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.values.answered(bytes.saturating_mul(VALUE_OF_BYTE));
    }

    /// The guest answered with a message of so many bytes, which never were values.
    pub(crate) fn answered_in_bytes(&self, bytes: usize) {
        self.values.answered(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// The fault of running into the end of the room: the spec's, or that of the calls beside.
    pub(crate) fn exceeded(&self, reached: LimitReached) -> Fault {
        if reached.limit != LimitKind::HostCopy {
            return Fault::Limit(reached);
        }
        if self.granted < self.most {
            self.values.usual.store(UNKNOWN, Ordering::Relaxed);
            return overload::values();
        }
        // Callers know the limits of the spec, not what the request left of them.
        Fault::Limit(LimitReached { allowed: self.host_copy.min(self.most), ..reached })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Gate;
    use roadstead_domain::ByteSize;

    const COPY: u64 = 100 << 20;

    fn limits() -> Limits {
        Limits { host_copy: ByteSize(COPY), ..Limits::default() }
    }

    fn reached() -> LimitReached {
        LimitReached { limit: LimitKind::HostCopy, allowed: 1, used: None }
    }

    fn values(whole: &Arc<Gate>) -> Arc<Values> {
        let namespace = whole.part(u64::MAX);
        Values::new(whole.lane(&namespace, whole.most() / 2))
    }

    fn hold(whole: &Arc<Gate>, count: u64) -> Taken {
        let lane = whole.lane(&whole.part(u64::MAX), u64::MAX);
        lane.try_take(Ask { count, most: u64::MAX }).unwrap()
    }

    #[test]
    fn a_call_alone_gets_what_its_spec_says() {
        let whole = Gate::new(1 << 30);
        let mut room = Room::new(&values(&whole), &limits());
        assert_eq!(room.decoding().remaining(), COPY);
        assert!(room.try_reserve(COPY / 2));
        assert_eq!(room.answering(COPY / 2).remaining(), COPY / 2);
        assert!(matches!(
            room.exceeded(reached()),
            Fault::Limit(LimitReached { allowed: COPY, .. })
        ));
        drop(room);
        assert_eq!(whole.taken(), 0);
    }

    #[test]
    fn idle_calls_leave_half_to_those_that_need_it() {
        let whole = Gate::new(1 << 30);
        let (idle, busy) = (values(&whole), values(&whole));
        busy.answered(VALUE_OF_BYTE << 10);
        let holding: Vec<Room> = (0..100)
            .map(|_| Room::new(&idle, &limits()))
            .filter_map(|mut room| room.try_reserve(0).then_some(room))
            .collect();
        assert_eq!(holding.len(), 2, "of a module that never answered");
        let mut rooms: Vec<Room> = (0..50).map(|_| Room::new(&busy, &limits())).collect();
        for room in &mut rooms {
            assert!(room.try_reserve(1 << 20));
            assert!(2 << 20 <= room.answering(0).remaining());
        }
        let mut small: Vec<Room> = (0..1000).map(|_| Room::new(&busy, &limits())).collect();
        assert!(small.iter_mut().all(|room| room.try_reserve(100)), "a little is always there");
        assert!(busy.lane.taken() <= busy.lane.largest() && whole.taken() <= whole.most());
    }

    #[test]
    fn an_answer_beyond_what_was_likely_makes_the_next_call_wait_for_more() {
        let whole = Gate::new(1 << 30);
        let values = values(&whole);
        values.answered(VALUE_OF_BYTE);
        let mut rooms: Vec<Room> = (0..3).map(|_| Room::new(&values, &limits())).collect();
        assert!(rooms.iter_mut().all(|room| room.try_reserve(0)));
        let last = rooms.pop().unwrap();
        assert!(matches!(last.exceeded(reached()), Fault::Overloaded { .. }));
        let mut next = Room::new(&values, &limits());
        assert!(!next.try_reserve(0));
        drop(rooms);
        assert!(next.try_reserve(0));
        assert_eq!(next.answering(0).remaining(), COPY);
    }

    #[tokio::test(start_paused = true)]
    async fn large_requests_wait_for_room_before_they_are_decoded() {
        let whole = Gate::new(400 << 20);
        let taken = hold(&whole, 350 << 20);
        let values = values(&whole);
        let mut room = Room::new(&values, &limits());
        assert!(matches!(room.begin(1 << 20).await, Err(Fault::Overloaded { .. })));
        drop(taken);
        assert!(room.begin(1 << 20).await.is_ok());
        assert_eq!((room.decoding().remaining(), values.lane.taken()), (64 << 20, 64 << 20));
        assert!(room.begin(usize::MAX).await.is_ok());
        assert_eq!((room.decoding().remaining(), values.lane.taken()), (COPY, COPY));
        drop(room);
        assert_eq!(whole.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn small_requests_take_nothing_and_may_be_decoded_again_in_more() {
        let whole = Gate::new(400 << 20);
        let values = values(&whole);
        let mut room = Room::new(&values, &limits());
        room.begin(4 << 10).await.unwrap();
        assert_eq!((room.decoding().remaining(), whole.taken()), (LITTLE, 0));
        let fault = Fault::Limit(reached());
        assert!(room.may_widen(&fault) && !room.may_widen(&Fault::Draining));
        room.widen().await.unwrap();
        assert_eq!((room.decoding().remaining(), whole.taken()), (COPY, COPY));
        assert!(!room.may_widen(&fault));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_set_aside_for_decoding_becomes_what_the_call_needs() {
        let whole = Gate::new(400 << 20);
        let values = values(&whole);
        values.answered(VALUE_OF_BYTE);
        let (mut first, mut second) =
            (Room::new(&values, &limits()), Room::new(&values, &limits()));
        first.begin(2 << 20).await.unwrap();
        assert!(first.try_reserve(1 << 20));
        assert_eq!(values.lane.taken(), COPY, "half of the part is free");
        second.begin(2 << 20).await.unwrap();
        assert_eq!(values.lane.taken(), 2 * COPY);
        assert!(second.try_reserve(1 << 20));
        assert!(values.lane.taken() < COPY + (10 << 20), "what is likely");
        assert!(second.answering(1 << 20).remaining() < 10 << 20);
        assert!(second.reserve(1 << 20).await.is_ok());
        assert!(values.lane.taken() < COPY + (10 << 20), "once");
        assert!(second.try_reserve(100));
        assert_eq!(values.lane.taken(), COPY, "little needs no room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_module_that_never_answered_is_not_kept_from_it() {
        let whole = Gate::new(400 << 20);
        let _taken = hold(&whole, 350 << 20);
        let mut room = Room::new(&values(&whole), &limits());
        assert!(!room.try_reserve(0));
        assert!(room.reserve(0).await.is_ok());
        assert_eq!(room.answering(0).remaining(), LITTLE / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_for_it_and_not_for_ever() {
        let whole = Gate::new(400 << 20);
        let values = values(&whole);
        values.answered(VALUE_OF_BYTE);
        let mut first = Room::new(&values, &limits());
        let mut second = Room::new(&values, &limits());
        assert!(first.try_reserve(90 << 20) && second.try_reserve(90 << 20));
        let mut third = Room::new(&values, &limits());
        assert!(matches!(third.reserve(90 << 20).await, Err(Fault::Overloaded { .. })));
        let waiting = tokio::spawn(async move { third.reserve(90 << 20).await });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap().is_ok());
    }

    #[test]
    fn a_small_host_lowers_the_limit_instead_of_asking_to_try_again() {
        let whole = Gate::new(16 << 20);
        let mut room = Room::new(&values(&whole), &limits());
        assert_eq!(room.decoding().remaining(), 4 << 20);
        assert!(room.try_reserve(0));
        assert!(matches!(room.exceeded(reached()), Fault::Limit(_)));
    }
}
