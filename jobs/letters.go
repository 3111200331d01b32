package jobs

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models/queue"
)

// letterWaits are the waits between the tries of a letter; after the last one it is given up.
var letterWaits = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
	4 * time.Hour, 8 * time.Hour}

// letterTimeout bounds one try, with room within the minute for which nobody else tries.
const letterTimeout = 20 * time.Second

type letterWorker struct {
	river.WorkerDefaults[queue.Letter]
	notices *Notices
}

// NextRetry applies when the database failed; tries of a letter are counted by us.
func (*letterWorker) NextRetry(*river.Job[queue.Letter]) time.Time {
	return time.Now().Add(2 * time.Second)
}

// Work makes one try.
func (w *letterWorker) Work(ctx context.Context, job *river.Job[queue.Letter]) error {
	return again(w.notices.TryLetter(ctx, job.Args.ID))
}

// TryLetter makes one try to send a letter, where one is due, and records how it went. again is after what time to look again; 0 for never.
// When the process dies in between, another one tries again a minute later: the mail may then arrive twice, with one Message-ID.
func (s *Notices) TryLetter(ctx context.Context, id uuid.UUID) (again time.Duration, err error) {
	l, wait, err := s.Store.ClaimLetter(ctx, id)
	if err != nil || l == nil {
		return wait, err
	}
	if l.Invitation == nil && !s.EnvNow().SMTP.Configured() {
		return 0, s.Store.LetterDone(ctx, l) // nobody is waiting to be told that there is no mail server
	}
	try, cancel := context.WithTimeout(ctx, letterTimeout)
	defer cancel()
	sent := notify.SendLetter(try, s.EnvNow(), s.Compose(l))
	record, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	if sent == nil {
		return 0, s.Store.LetterDone(record, l)
	}
	e := adapters.AsError(sent)
	switch {
	case ctx.Err() != nil || e.Kind == adapters.KindShortage: // of this process, and no fault of the mail server's
		again = noticeShort
	case e.Kind != adapters.KindPermanent && e.Kind != adapters.KindGone && l.Tries <= len(letterWaits):
		again = max(letterWaits[l.Tries-1], min(e.After, 6*time.Hour))
	}
	why := e.Message
	if again == 0 && e.Advice != "" {
		why += " " + e.Advice
	}
	s.Log.Warn("a mail could not be sent", "letter", l.ID(), "kind", l.Kind, "try", l.Tries, "error", e.Message, "again", again)
	return again, s.Store.LetterFailed(record, l, why, again)
}
