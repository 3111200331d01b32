package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

type listChangesRequest struct {
	Since  string   `query:"since" doc:"The cursor of the last change that you know; 'now' for what comes, 'start' for all that is kept. Needed, unless 'Last-Event-ID' says it."`
	Types  []string `query:"types" api:"schema=ChangeType" doc:"All but 'delivery' when missing."`
	Tenant string   `query:"tenant_id" doc:"Only of this tenant, and topics."`
	Limit  int      `query:"limit" api:"min=1,max=1000,default=100"`
}

func (r *listChangesRequest) query() models.FeedQuery {
	return models.FeedQuery{Types: r.Types, Since: r.Since, Limit: r.Limit}
}

type ChangesJSON struct {
	Changes []*models.FeedEntry `json:"changes"`
	Next    string              `json:"next" doc:"The cursor to go on from, also when there was no change."`
	More    bool                `json:"more" doc:"Whether there is more to read right now."`
}

// mediaEvents is the media type of server-sent events.
const mediaEvents = "text/event-stream"

// changes answers with what has changed since a cursor: at once, when there is something (Prefer: wait), or as a stream.
func (a *API) changes(c *fiber.Ctx) error {
	ctx, cancel := CallContext()
	defer cancel()
	return a.WhileAnswering(ctx, c, func(ctx context.Context) error { return a.answerChanges(ctx, c) })
}

func (a *API) answerChanges(ctx context.Context, c *fiber.Ctx) (err error) {
	call, err := a.APICall(ctx, c, models.MayRead)
	if err != nil {
		return err
	}
	var req listChangesRequest
	if err := BinderOf[listChangesRequest]().fill(c, &req, false); err != nil {
		return err
	}
	c.Set(fiber.HeaderVary, "Accept, Prefer")
	streamed := strings.Contains(c.Get(fiber.HeaderAccept), mediaEvents)
	if last := c.Get("Last-Event-ID"); last != "" && streamed {
		req.Since = last // what a client sends that was cut off, with the address that it began with
	}
	scope, err := a.Store.Of(ctx, call.Scope(), req.Tenant)
	if err != nil {
		return err
	}
	ctx, cancelWait := call.within(ctx)
	defer cancelWait()
	ctx, stop := a.Store.WhileAnswering(ctx) // within leaves that of the request behind
	defer func() {
		err = models.Because(ctx, err)
		stop()
	}()
	page, err := a.Store.Feed(ctx, scope, req.query())
	if err != nil {
		return err
	}
	a.sawLatest(c, call)
	if streamed && c.Method() == http.MethodGet {
		return a.streamChanges(c, call, scope, req.query(), page)
	}
	reply := &Reply{}
	if call.Prefer.wait > 0 && len(page.Entries) == 0 && !page.More {
		query := req.query()
		_, err = a.wait(ctx, call, models.FollowFeed(scope), call.Prefer.wait, func() (bool, error) {
			query.Since = page.Next
			now, err := a.Store.Feed(ctx, scope, query)
			if err != nil {
				return false, err
			}
			page = now
			return len(page.Entries) > 0, nil
		})
		if err != nil {
			return err
		}
	}
	a.sawLatest(c, call)
	reply.Applied = call.Prefer.waitApplied()
	reply.Body = ChangesJSON{page.Entries, page.Next, page.More}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return sendJSON(c, call, reply)
}

const (
	// beat is how often a stream says that it is alive while nothing changes. Proxies cut off what is silent for a minute.
	beat = 15 * time.Second
	// slowReader is for how long a stream waits for a reader to take what was sent before it is cut off.
	slowReader = 30 * time.Second
	// streamPortion is how many changes of a stream are in memory at most.
	streamPortion = 100
	// reconnectAfter is how long clients are asked to wait before they connect again.
	reconnectAfter = 2 * time.Second
)

// changeStream is a reader of changes who stays connected.
type changeStream struct {
	a     *API
	call  *Call
	scope models.Scope
	query models.FeedQuery
	key   string // that the reader showed
	conn  net.Conn
	out   *bufio.Writer
	told  string // cursor that the reader has
}

// streamChanges answers with server-sent events, page being the first ones. It reads no further before the reader has
// taken what was sent, so that a slow one costs no more memory than a fast one.
func (a *API) streamChanges(c *fiber.Ctx, call *Call, scope models.Scope, query models.FeedQuery, page *models.FeedPage) error {
	sub := a.Follower.Follow(models.FollowFeed(scope))
	if sub == nil {
		return &models.Error{Kind: models.KindUnavailable,
			Message: "This server has no room for another caller that waits for changes. Try again.", RetryAfter: reconnectAfter}
	}
	if call.gone == nil {
		call.gone = callerGone(c)
	}
	_, key, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	s := &changeStream{a: a, call: call, scope: scope, query: query, key: strings.TrimSpace(key), conn: c.Context().Conn()}
	s.query.Limit = streamPortion
	c.Set(fiber.HeaderContentType, mediaEvents)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // nginx would hold back what is small
	c.Context().SetConnectionClose()
	c.Context().SetBodyStreamWriter(func(out *bufio.Writer) {
		defer sub.End()
		s.out = out
		s.run(sub, page)
	})
	return nil
}

// run sends changes until the reader goes away or may not read any longer, or the process stops.
func (s *changeStream) run(sub *models.Subscription, page *models.FeedPage) {
	fmt.Fprintf(s.out, "retry: %d\n\n", reconnectAfter.Milliseconds())
	look, alive := time.NewTicker(goneLook), time.NewTicker(beat)
	defer look.Stop()
	defer alive.Stop()
	for {
		if err := s.send(page); err != nil {
			return // the reader is gone, or takes nothing
		}
		for more := page.More; !more; {
			select {
			case <-sub.Changed:
				more = true
			case <-alive.C:
				// A key may be revoked, a token expire and a tenant be deleted while a stream goes on.
				if !s.a.MayStillRead(s.key) || s.flush(": still here\n\n") != nil {
					return
				}
			case <-look.C:
				if s.call.gone != nil && s.call.gone() {
					return
				}
			case <-s.a.Follower.Done():
				return
			}
		}
		select {
		case <-s.a.Follower.Done():
			return
		default:
		}
		var err error
		if page, err = s.read(page.Next); err != nil {
			if !models.IsMoving(err) { // else its reader goes on where the tenant is
				s.a.Log.Warn("a stream of changes broke off; its reader connects again", "request_id", s.call.RequestID, "error", err)
			}
			return
		}
	}
}

func (s *changeStream) read(since string) (*models.FeedPage, error) {
	ctx, cancel := CallContext()
	defer cancel()
	s.query.Since = since
	return s.a.Store.Feed(ctx, s.scope, s.query)
}

// MayStillRead tells whether a key or token is good for reading; also while the database does not say.
func (a *API) MayStillRead(key string) bool { return a.mayStill(key, models.MayRead) }

func (a *API) mayStill(key string, perm models.Permission) bool {
	actor, err := a.whoIs(context.Background(), key)
	return err == nil && actor.Can(perm) || models.IsUnavailable(err)
}

// send sends the changes of a page, each with its cursor as the event's id, and then the cursor after it, which a client
// remembers although it comes without data: it would be too old one day for somebody whose own things never change.
func (s *changeStream) send(page *models.FeedPage) error {
	var b strings.Builder
	e := lineEncoder(&b)
	for _, c := range page.Entries {
		fmt.Fprintf(&b, "id: %s\nevent: %s.%s\ndata: ", c.Cursor, c.Type, c.Action)
		if err := e.Encode(c); err != nil { // ends the line
			return err
		}
		b.WriteString("\n")
		s.told = c.Cursor
	}
	if s.told != page.Next {
		s.told = page.Next
		fmt.Fprintf(&b, "id: %s\n\n", page.Next)
	}
	return s.flush(b.String())
}

func (s *changeStream) flush(text string) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(slowReader)); err != nil {
		return err
	}
	if _, err := s.out.WriteString(text); err != nil {
		return err
	}
	return s.out.Flush()
}
