//! A step in the life of a booking.

use std::borrow::Cow;

use crate::changes::booking::{Access, Found};
use crate::changes::freed::GivenUp;
use crate::command::Command;
use crate::error::WriteError;
use crate::record::{BookingRecord, Resource};
use crate::rfc3339;
use crate::status::{Refusal, Status, Step};
use crate::work::Work;

/// Asks a booking to take a step.
pub(crate) struct TakeStep {
    pub(crate) access: Access,
    pub(crate) step: Step,
}

/// What became of it.
pub(crate) enum Stepped {
    /// The booking as it stands now.
    Taken(BookingRecord),
    /// The step is impossible from where the booking stands.
    Refused(Refusal),
    /// There is no such booking, or it belongs to somebody else.
    NoBooking,
    /// It was changed since the caller has seen it.
    OtherVersion(i64),
}

impl Command for TakeStep {
    type Done = Stepped;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<Stepped, WriteError> {
        let (before, resource) = match work.find(&self.access).await? {
            Found::Booking(found) => *found,
            Found::NoBooking => return Ok(Stepped::NoBooking),
            Found::OtherVersion(version) => return Ok(Stepped::OtherVersion(version)),
        };
        work.step(before, &resource, self.step, None).await
    }
}

impl Work<'_> {
    /// Lets a booking take a step, for a reason that its event names. Who leaves early gives the
    /// rest of the time back, and those who wait for it are asked.
    pub(crate) async fn step(
        &mut self,
        before: BookingRecord,
        resource: &Resource,
        step: Step,
        reason: Option<&str>,
    ) -> Result<Stepped, WriteError> {
        let mut given_up = GivenUp::default();
        let stepped = self
            .step_of_several(before, resource, step, reason, &mut given_up)
            .await?;
        self.freed(given_up).await?;
        Ok(stepped)
    }

    /// A step of one booking where a change has others to write after it: what it gives up is
    /// collected, for the end.
    pub(super) async fn step_of_several(
        &mut self,
        before: BookingRecord,
        resource: &Resource,
        step: Step,
        reason: Option<&str>,
        given_up: &mut GivenUp,
    ) -> Result<Stepped, WriteError> {
        let stepped = self
            .step_alone(before.clone(), resource, step, reason)
            .await?;
        if let Stepped::Taken(booking) = &stepped
            && !booking.status.holds_its_time()
        {
            self.resolve_conflicts_of(booking).await?;
            given_up.add(&before);
        }
        Ok(stepped)
    }

    /// The step by itself, written and told; what follows from it is for the caller.
    pub(super) async fn step_alone(
        &mut self,
        before: BookingRecord,
        resource: &Resource,
        step: Step,
        reason: Option<&str>,
    ) -> Result<Stepped, WriteError> {
        let mut booking = before.clone();
        booking.status = match before.status.take(step) {
            Ok(status) => status,
            Err(refusal) => return Ok(Stepped::Refused(refusal)),
        };
        if let Err(reason) = self.is_time_for(step, &before) {
            return Ok(Stepped::Refused(Refusal {
                status: before.status,
                step,
                reason,
            }));
        }
        booking.blocked_until_ms = self.blocked_after(&booking, resource);
        booking.touched(&before, self.now_ms);
        self.rewrite(&booking).await?;
        self.told(step.kind(), Some(&before), &booking, resource, reason)
            .await?;
        Ok(Stepped::Taken(booking))
    }

    /// Whether a step that a booking can take is due: people come when it begins and not weeks
    /// before, and nobody has stayed away from what has not begun.
    fn is_time_for(&self, step: Step, booking: &BookingRecord) -> Result<(), Cow<'static, str>> {
        let early_ms = i64::from(self.config.check_in_early_minutes) * 60_000;
        let opens_ms = booking.start_ms.saturating_sub(early_ms);
        match step {
            Step::CheckIn if self.now_ms < opens_ms => Err(format!(
                "it is too early; its people can check in from {} on",
                rfc3339::print(opens_ms)
            )
            .into()),
            Step::NoShow if self.now_ms < booking.start_ms => Err("it has not begun yet".into()),
            Step::CheckIn | Step::Confirm if self.now_ms >= booking.end_ms => {
                Err("it is over".into())
            }
            _ => Ok(()),
        }
    }

    /// Until when a booking keeps others from its resource once it has taken its step. Who leaves has
    /// used the resource: what it needs after a booking begins then, and not with the planned end. It
    /// takes no more than the booking had, which others may have built on.
    fn blocked_after(&self, booking: &BookingRecord, resource: &Resource) -> Option<i64> {
        let until_ms = booking.blocked_until_ms;
        if booking.status.holds_its_time() {
            return until_ms;
        }
        let ready_ms = resource.rules.blocked_until_ms(self.now_ms);
        until_ms
            .filter(|_| booking.status == Status::CheckedOut)
            .map(|until_ms| until_ms.min(ready_ms))
            .filter(|until_ms| *until_ms > booking.start_ms.max(self.now_ms))
    }
}
