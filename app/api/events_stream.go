package api

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// StreamEventsRequest asks for what comes, by the conditions of the list.
type StreamEventsRequest struct {
	tenantParams
	models.EventQuery
	After string `query:"after" doc:"'now', or a cursor: of '/events/new', or the 'id' that the stream gave last. 'now' when missing."`
}

// eventChangeJSON is what the stream tells of an event.
type eventChangeJSON struct {
	Change string `json:"change" api:"enum=new|changed" doc:"Whether the event is new, or its deliveries have changed. After a connection was cut off something may be told again."`
	eventJSON
	Matches       bool       `json:"matches" doc:"Whether the event is in the list with these conditions, now. One that begins or ceases to be is told as 'changed'."`
	Attempts      int        `json:"attempts" doc:"Of all its deliveries."`
	LastError     string     `json:"last_error,omitempty" doc:"Of the delivery that failed last and is not delivered yet."`
	LastAttemptAt *time.Time `json:"last_attempt_at" doc:"null before the first."`
}

// reloadJSON asks to read the list again.
type reloadJSON struct {
	Change string `json:"change" api:"enum=reload"`
	Reason string `json:"reason" doc:"Why the stream does not tell all: read the list again."`
}

// What the stream calls its messages.
const (
	changeNew     = "new"
	changeChanged = "changed"
	changeReload  = "reload"
)

// WriteTail makes of a message of the live tail the text of a server-sent event.
func (a *API) WriteTail(m models.TailMessage) ([]byte, error) {
	var b strings.Builder
	var body any
	kind := changeReload
	if e := m.Event; e == nil {
		body = reloadJSON{kind, m.Reload}
	} else {
		if kind = changeChanged; m.Fresh {
			kind = changeNew
		}
		j := eventChangeJSON{Change: kind, eventJSON: a.eventToJSON(e), Matches: m.Matches, Attempts: e.Attempts, LastError: e.LastError}
		if !e.LastTried.IsZero() {
			at := e.LastTried.UTC()
			j.LastAttemptAt = &at
		}
		body = j
	}
	b.WriteString("event: " + kind + "\ndata: ")
	if err := lineEncoder(&b).Encode(body); err != nil { // ends the line
		return nil, err
	}
	b.WriteString("\n")
	return []byte(b.String()), nil
}

// streamEvents answers the API with what comes, as server-sent events.
func (a *API) streamEvents(c *fiber.Ctx) error {
	ctx, cancel := CallContext()
	defer cancel()
	return a.WhileAnswering(ctx, c, func(ctx context.Context) error {
		call, err := a.APICall(ctx, c, models.MayRead)
		if err != nil {
			return err
		}
		var req StreamEventsRequest
		if err := BinderOf[StreamEventsRequest]().fill(c, &req, false); err != nil {
			return err
		}
		_, key, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
		key = strings.TrimSpace(key)
		return a.SendTail(ctx, c, call, &req, func() bool { return a.MayStillRead(key) })
	})
}

// SendTail answers with a stream of what comes. still tells whether the reader may go on, from time to time.
func (a *API) SendTail(ctx context.Context, c *fiber.Ctx, call *Call, req *StreamEventsRequest, still func() bool) error {
	c.Set(fiber.HeaderVary, "Accept")
	if !strings.Contains(c.Get(fiber.HeaderAccept), mediaEvents) {
		return &models.Error{Kind: models.KindUnreadable, Message: "This is a stream without an end. Ask for it with the header Accept: " +
			mediaEvents + ", or count what is new with GET /events/new."}
	}
	scope, err := a.Store.Of(ctx, call.Scope(), req.Tenants...)
	if err != nil {
		return err
	}
	after := req.After
	if last := c.Get("Last-Event-ID"); last != "" {
		after = last // what a client sends that was cut off, with the address that it began with
	}
	reader, err := a.Tail.Read(ctx, scope, req.EventQuery, call.callerName())
	if err != nil {
		return err
	}
	a.sawLatest(c, call)
	first, err := reader.Start(ctx, after)
	if err != nil {
		reader.End()
		return err
	}
	c.Set(fiber.HeaderContentType, mediaEvents)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // nginx would hold back what is small
	if c.Method() == http.MethodHead {
		reader.End()
		return nil
	}
	gone := callerGone(c)
	s := &eventStream{conn: c.Context().Conn(), parts: reader.Parts, still: still, gone: func() bool { return gone != nil && gone() }}
	c.Context().SetConnectionClose()
	c.Context().SetBodyStreamWriter(func(out *bufio.Writer) {
		defer reader.End()
		s.out = out
		s.run(first)
	})
	return nil
}

// eventStream is a reader of the live tail who stays connected.
type eventStream struct {
	conn  net.Conn
	out   *bufio.Writer
	parts <-chan models.TailPart
	still func() bool
	gone  func() bool
	told  string // cursor that the reader has
}

// run sends what comes until the reader goes away or may not read any longer, or the process stops.
func (s *eventStream) run(first *models.TailPart) {
	look, alive := time.NewTicker(goneLook), time.NewTicker(beat)
	defer look.Stop()
	defer alive.Stop()
	if s.send([]byte("retry: 2000\n"), first.Text, first.Cursor) != nil {
		return
	}
	cursor := first.Cursor
	for {
		select {
		case part, more := <-s.parts:
			if !more {
				return
			}
			cursor = part.Cursor
			if len(part.Text) > 0 && s.send(part.Text, nil, cursor) != nil {
				return
			}
		case <-alive.C:
			// A key may be revoked, a session end and a tenant be deleted while a stream goes on.
			if !s.still() || s.send([]byte(": still here\n"), nil, cursor) != nil {
				return
			}
		case <-look.C:
			if s.gone() {
				return
			}
		}
	}
}

// send sends text, and then the cursor after it, which a client remembers although it comes without data.
func (s *eventStream) send(text, more []byte, cursor string) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(slowReader)); err != nil {
		return err
	}
	for _, b := range [][]byte{text, more} {
		if _, err := s.out.Write(b); err != nil {
			return err
		}
	}
	if s.told != cursor {
		s.told = cursor
		if _, err := s.out.WriteString("id: " + cursor + "\n"); err != nil {
			return err
		}
	}
	if err := s.out.WriteByte('\n'); err != nil {
		return err
	}
	return s.out.Flush()
}

// NewEventsRequest asks how many events have come.
type NewEventsRequest struct {
	tenantParams
	models.EventQuery
	After string `query:"after" api:"required" doc:"'now', which counts none and gives a cursor; a cursor; or the id of an event, after which it counts those with a later time of receipt."`
}

type ArrivedJSON struct {
	Count  int    `json:"count" doc:"Events in the list with these conditions that have come since. At most 1,000."`
	More   bool   `json:"more" doc:"Whether there are more: at most 1,000 are counted, of the last 5,000 that have come."`
	Cursor string `json:"cursor" doc:"Of now. What a list does not show that is read after this answer comes after it."`
}

// NewEvents counts the events that have come to a list.
func (a *API) NewEvents(ctx context.Context, c *Call, req *NewEventsRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenants...)
	if err != nil {
		return nil, err
	}
	n, err := a.Store.Arrived(ctx, scope, req.EventQuery, req.After)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: ArrivedJSON{n.Count, n.More, n.Cursor}, Secret: true, Latest: true}, nil
}
