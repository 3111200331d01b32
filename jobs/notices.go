package jobs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/adapters/notify"
	"github.com/waybill-dev/waybill/models"
	"github.com/waybill-dev/waybill/models/queue"
)

const (
	// noticeTimeout bounds one try to send a notice.
	noticeTimeout = 45 * time.Second
	// noticeRecordFor is for how long it is tried to write down how a try went while the database does not take it. A
	// notice that was sent and is not known to be would be sent once more.
	noticeRecordFor = 5 * time.Minute
	// noticeStopFor is for how long it is tried once the process is to stop: less than it waits for jobs that it cut off.
	noticeStopFor = 8 * time.Second
	// noticeRecordPause is before the next try to write.
	noticeRecordPause = 200 * time.Millisecond
	// noticeBusy is after what time a notice is looked at again that is being sent already.
	noticeBusy = 2 * time.Second
	// noticeShort is after what time a notice is sent for which this server had no port, file or memory. The try does not
	// count.
	noticeShort = 5 * time.Second
)

// noticeWaits are the waits between the tries of a notice; after the last one it has failed.
var noticeWaits = []time.Duration{5 * time.Second, 20 * time.Second, time.Minute, 3 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour}

// Notices sends notices.
type Notices struct {
	Store *models.Store
	Env   notify.Env // for all channels; TenantID is filled in
	// Links completes a notice with the addresses of the pages about what it tells; nil leaves them out.
	Links func(owner string, n *notify.Notice)
	// Unsubscribe makes the link with which an address ends a channel's notices to it; nil leaves it out.
	Unsubscribe func(channelID, address string) string
	// Compose writes a letter.
	Compose func(*models.Letter) notify.Letter
	Log     *slog.Logger

	mail atomic.Pointer[notify.SMTP] // in place of Env.SMTP since it was changed; nil for that one

	busy      sync.Map // the notifications that this process is sending, by their keys
	shortages shortages
}

// SetMail has mail go out like this from now on.
func (s *Notices) SetMail(m notify.SMTP) { s.mail.Store(&m) }

// EnvNow is Env with how mail goes out now.
func (s *Notices) EnvNow() notify.Env {
	env := s.Env
	if m := s.mail.Load(); m != nil {
		env.SMTP = *m
	}
	return env
}

type noticeWorker struct {
	river.WorkerDefaults[queue.Notice]
	notices *Notices
	process string
}

// NextRetry applies when the database failed; tries of a notice are counted by us.
func (*noticeWorker) NextRetry(*river.Job[queue.Notice]) time.Time {
	return time.Now().Add(2 * time.Second)
}

// Timeout leaves room for writing down how the try went.
func (*noticeWorker) Timeout(*river.Job[queue.Notice]) time.Duration {
	return noticeTimeout + noticeRecordFor + time.Minute
}

// Work makes one try. When the process dies in between, another one makes it again, with the same id: the receiver may
// hear it twice, and can tell.
func (w *noticeWorker) Work(ctx context.Context, job *river.Job[queue.Notice]) error {
	return again(w.notices.Try(ctx, w.process, job.Args.ID))
}

// Try makes one try to send a notification, and records how it went. process is the one that makes it. again is after
// what time to try again; 0 for never.
func (s *Notices) Try(ctx context.Context, process string, id uuid.UUID) (again time.Duration, err error) {
	// Its job may be taken twice: a crash of PostgreSQL can undo that it was taken once.
	if _, busy := s.busy.LoadOrStore(id, true); busy {
		return noticeBusy, nil
	}
	defer s.busy.Delete(id)
	if free, err := s.Store.ClaimNotification(ctx, id, process); err != nil || !free {
		return noticeBusy, err
	}
	n, c, err := s.Store.NotificationToSend(ctx, id)
	if err != nil || n == nil {
		return 0, err
	}
	if c == nil {
		return 0, s.Store.NotificationDropped(ctx, id, "The channel was deleted before it was sent.")
	}
	if c.AllSilent() {
		return 0, s.Store.NotificationDropped(ctx, id, "Everybody whom the channel names has unsubscribed.")
	}
	if n.Tries > 0 && n.DueAt != nil && time.Until(*n.DueAt) > time.Second {
		return time.Until(*n.DueAt), nil // that the last try ended was not written into the queue, so that the job is back too early
	}
	n.Notice.Try, n.Notice.At = n.Tries+1, n.CreatedAt
	res, err := s.Send(ctx, c, &n.Notice)
	n.Notice.Skip = append(n.Notice.Skip, res.Reached...)
	if err == nil {
		return 0, s.record(ctx, id, func(ctx context.Context) error {
			return s.Store.NotificationSent(ctx, id, n.Notice, res.Code, res.Answer, c.SilentNote())
		})
	}
	if ctx.Err() != nil { // the process is stopping; another one tries again, but for those whom this try has reached
		if len(res.Reached) > 0 {
			err = s.record(ctx, id, func(ctx context.Context) error { return s.Store.NotificationReached(ctx, id, n.Notice) })
		}
		return 0, errors.Join(ctx.Err(), err)
	}
	e := adapters.AsError(err)
	if e.Kind == adapters.KindShortage {
		s.shortages.note(s.Store.Metrics, s.Log, e, "channel", c.ID)
		return noticeShort, s.record(ctx, id, func(ctx context.Context) error { return s.Store.NotificationReached(ctx, id, n.Notice) })
	}
	if e.Kind != adapters.KindPermanent && e.Kind != adapters.KindGone && n.Tries < len(noticeWaits) {
		again = max(noticeWaits[n.Tries], min(e.After, 6*time.Hour))
	}
	s.Log.Warn("a notice was not sent", "notification", n.ID(), "channel", c.ID, "type", c.Type, "try", n.Tries+1, "error", e.Message,
		"again", again)
	return again, s.record(ctx, id, func(ctx context.Context) error {
		return s.Store.NotificationFailed(ctx, id, n.Notice, res.Code, res.Answer, e.Message, e.Advice, again)
	})
}

// record writes down how a try went, again and again while the database is away, and although the process is stopping.
func (s *Notices) record(ctx context.Context, id uuid.UUID, write func(context.Context) error) error {
	keep, giveUp := context.WithTimeout(context.WithoutCancel(ctx), noticeRecordFor)
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(noticeStopFor, giveUp) })()
	for first := true; ; first = false {
		once, cancel := context.WithTimeout(keep, 10*time.Second)
		err := write(once)
		cancel()
		if err == nil || !models.IsUnavailable(err) || keep.Err() != nil {
			return err
		}
		if first {
			s.Log.Warn("how a notice went is not recorded yet; the database is away", "notification", (&models.Notification{Key: id}).ID(),
				"error", err)
		}
		select {
		case <-keep.Done():
			return err
		case <-time.After(noticeRecordPause):
		}
	}
}

// Send sends a notice over a channel, without recording anything. The error is an *adapters.Error.
func (s *Notices) Send(ctx context.Context, c *models.Channel, n *notify.Notice) (notify.Result, error) {
	if c.AllSilent() {
		return notify.Result{}, &adapters.Error{Kind: adapters.KindPermanent, Class: adapters.ClassConfig,
			Message: "Everybody whom the channel names has unsubscribed, so nothing was sent.",
			Advice:  "Subscribe an address again on the channel's page, or name another one."}
	}
	env := s.EnvNow()
	env.TenantID = c.OwnerID
	if s.Unsubscribe != nil {
		env.Unsubscribe = func(address string) string { return s.Unsubscribe(c.ID, address) }
	}
	channel, err := notify.Open(env, c.Type, c.Config, c.Secrets)
	if err != nil {
		return notify.Result{}, err
	}
	if s.Links != nil {
		s.Links(c.OwnerID, n)
	}
	ctx, cancel := context.WithTimeout(ctx, noticeTimeout)
	defer cancel()
	out := *n
	out.Skip = slices.Concat(n.Skip, c.Silent())
	return channel.Send(ctx, &out)
}
