package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// The formats of an export of rows.
const formatNDJSON = "ndjson"

// exportParams say how a list is exported.
type exportParams struct {
	Format string `query:"format" api:"enum=ndjson|csv,default=ndjson"`
	Limit  *int   `query:"limit" api:"min=1" doc:"Rows at most; all that match when missing."`
	Dir    string `query:"dir" api:"enum=asc|desc,default=desc" doc:"Newest or oldest first."`
}

type ExportEventsRequest struct {
	exportParams
	tenantParams
	models.EventQuery
}

type ExportDeliveriesRequest struct {
	exportParams
	tenantParams
	models.DeliveryQuery
}

type ExportAttemptsRequest struct {
	exportParams
	tenantParams
	models.AttemptQuery
}

// Limits of exports.
const (
	exportsAtOnce = 8         // of a process
	exportsEach   = 4         // of one caller
	exportBytes   = 512 << 10 // of a page, about
	exportFirst   = 50        // rows of the first page, before it is known how large they are
	exportLook    = 15 * time.Second
)

// exportPlaces are how many exports are under way, by caller.
type exportPlaces struct {
	mu  sync.Mutex
	all int
	by  map[string]int
}

func (p *exportPlaces) take(caller string) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const wait = 5 * time.Second
	switch {
	case p.all >= exportsAtOnce:
		return nil, &models.Error{Kind: models.KindUnavailable, Message: "This server has no room for another export. Try again when one has ended.",
			RetryAfter: wait}
	case p.by[caller] >= exportsEach:
		return nil, &models.Error{Kind: models.KindLimited,
			Message: fmt.Sprintf("%d exports are under way for this caller, which is the limit. Wait for one of them.",
				exportsEach), RetryAfter: wait}
	}
	if p.by == nil {
		p.by = map[string]int{}
	}
	p.all++
	p.by[caller]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all--
		if p.by[caller]--; p.by[caller] == 0 {
			delete(p.by, caller)
		}
	}, nil
}

// callerName names who calls, for what is limited by caller.
func (c *Call) callerName() string {
	return strings.Join([]string{c.Actor.Kind, c.Actor.Name, c.Actor.TenantID, c.Actor.UserID.String()}, " ")
}

// rows is a list that is exported: page by page, each row as JSON and as cells.
type rows[T any] struct {
	name    string // of the file
	most    int    // rows of a page
	columns []string
	page    func(ctx context.Context, limit int, next string) (*models.Page[T], error)
	json    func(T) any
	cells   func(T) ([]string, error)
}

// exporting makes a handler of the API that exports what a request asks for.
func exporting[Req any](a *API, send func(ctx context.Context, c *fiber.Ctx, call *Call, req *Req, still func() bool) error) fiber.Handler {
	return reading(a, func(ctx context.Context, c *fiber.Ctx, call *Call, req *Req) error {
		_, key, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
		key = strings.TrimSpace(key)
		return send(ctx, c, call, req, func() bool { return a.MayStillRead(key) })
	})
}

// reading makes a handler of the API for those who may read, which sends its answer itself.
func reading[Req any](a *API, send func(ctx context.Context, c *fiber.Ctx, call *Call, req *Req) error) fiber.Handler {
	return answering(a, models.MayRead, send)
}

// answering is reading for those who have another permission.
func answering[Req any](a *API, perm models.Permission,
	send func(ctx context.Context, c *fiber.Ctx, call *Call, req *Req) error) fiber.Handler {
	bind := BinderOf[Req]()
	return func(c *fiber.Ctx) error {
		ctx, cancel := CallContext()
		defer cancel()
		return a.WhileAnswering(ctx, c, func(ctx context.Context) error {
			call, err := a.APICall(ctx, c, perm)
			if err != nil {
				return err
			}
			var req Req
			if err := bind.fill(c, &req, false); err != nil {
				return err
			}
			return send(ctx, c, call, &req)
		})
	}
}

// export streams a list. What is wrong with the request is told before anything is sent. When something fails later on, or
// the caller may not go on, the answer breaks off, which every client notices; NDJSON says why in its last line.
func export[T any](ctx context.Context, a *API, c *fiber.Ctx, call *Call, p exportParams, list rows[T], still func() bool) error {
	if p.Format == "" {
		p.Format = formatNDJSON
	}
	if p.Format != exportCSV && p.Format != formatNDJSON {
		return models.Invalid("format", "must be csv or ndjson")
	}
	if p.Limit != nil && *p.Limit < 1 {
		return models.Invalid("limit", "must be 1 or more; leave it out for all that match")
	}
	leave, err := a.exports.take(call.callerName())
	if err != nil {
		return err
	}
	e := &exportOf[T]{rows: list, left: -1, size: exportFirst, still: still, wrote: call.Wrote}
	if p.Limit != nil {
		e.left = *p.Limit
	}
	first, err := e.read(ctx, a, "")
	if err != nil || c.Method() == http.MethodHead {
		defer leave()
	}
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, map[string]string{exportCSV: "text/csv; charset=utf-8; header=present",
		formatNDJSON: "application/x-ndjson"}[p.Format])
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="`+list.name+"-"+time.Now().UTC().Format("2006-01-02-150405")+"."+p.Format+`"`)
	c.Set(fiber.HeaderCacheControl, "no-store")
	if c.Method() == http.MethodHead {
		return nil
	}
	out, in := io.Pipe() // which the server closes when its reader goes away, or takes nothing
	go func() {
		defer leave()
		// The request's own time is over when its handler returns, and the answer is only begun then.
		err := e.run(context.WithoutCancel(ctx), a, in, p.Format, first, call.RequestID)
		if err != nil && !errors.Is(err, io.ErrClosedPipe) {
			a.Log.Error("an export broke off", "request_id", call.RequestID, "list", list.name, "error", err)
		}
		_ = in.CloseWithError(err) // always returns nil
	}()
	c.Context().SetBodyStream(out, -1)
	return nil
}

// exportOf is an export under way.
type exportOf[T any] struct {
	rows[T]
	wrote  time.Time // when the caller wrote last, see Call
	left   int       // rows to be sent; -1 for any number
	size   int       // rows of the next page
	still  func() bool
	looked time.Time // when the caller was last found to be one who may read
	sent   int64     // bytes
}

// read reads the next page.
func (e *exportOf[T]) read(ctx context.Context, a *API, next string) (page *models.Page[T], err error) {
	n := e.size
	if e.left >= 0 {
		n = min(n, e.left)
	}
	err = a.Store.Read(ctx, e.wrote, func(ctx context.Context) (err error) {
		page, err = e.page(ctx, n, next)
		return err
	})
	return page, err
}

// counted counts what is written.
type counted struct {
	io.Writer
	n *int64
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	*c.n += int64(n)
	return n, err
}

func (e *exportOf[T]) run(ctx context.Context, a *API, in io.Writer, format string, page *models.Page[T], requestID string) error {
	out := bufio.NewWriterSize(counted{in, &e.sent}, 32<<10)
	lines := lineEncoder(out)
	write := func(row T) error { return lines.Encode(e.json(row)) }
	if format == exportCSV {
		table := csv.NewWriter(out)
		table.UseCRLF = true
		if err := table.Write(e.columns); err != nil {
			return err
		}
		write = func(row T) error {
			cells, err := e.cells(row)
			if err != nil {
				return err
			}
			for i := range cells {
				cells[i] = harmless(cells[i])
			}
			if err := table.Write(cells); err != nil {
				return err
			}
			table.Flush() // a buffer of its own must not keep what comes before an error
			return table.Error()
		}
	}
	err := e.pages(ctx, a, page, write, out)
	if err == nil {
		return out.Flush()
	}
	if format == formatNDJSON && !errors.Is(err, io.ErrClosedPipe) {
		known := models.AsError(err)
		_ = lines.Encode(exportErrorJSON{problemOf(known, requestID)})
	}
	_ = out.Flush() // what is complete is sent; the answer breaks off after it
	return err
}

// exportErrorJSON is the last line of an export that breaks off.
type exportErrorJSON struct {
	Error Problem `json:"error" doc:"Why the export breaks off: what comes after the lines before is missing."`
}

// pages sends page after page.
func (e *exportOf[T]) pages(ctx context.Context, a *API, page *models.Page[T], write func(T) error, out *bufio.Writer) error {
	e.looked = time.Now()
	for {
		began := e.sent
		for _, row := range page.Items {
			if err := write(row); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if e.left >= 0 {
			e.left -= len(page.Items)
		}
		if page.Next == "" || e.left == 0 {
			return nil
		}
		e.resize(len(page.Items), e.sent-began)
		if err := e.mayGoOn(a); err != nil {
			return err
		}
		var err error
		if page, err = e.readPatiently(ctx, a, page.Next); err != nil {
			return err
		}
	}
}

// resize chooses how many rows are read at once, by how large the last ones were.
func (e *exportOf[T]) resize(rows int, bytes int64) {
	if rows == 0 {
		return
	}
	fit := int(int64(exportBytes) * int64(rows) / max(bytes, 1))
	e.size = max(10, min(fit, 2*e.size, e.most))
}

func (e *exportOf[T]) mayGoOn(a *API) error {
	select {
	case <-a.Follower.Done():
		return &models.Error{Kind: models.KindUnavailable, Message: "The server is stopping. Export again."}
	default:
	}
	if time.Since(e.looked) < exportLook {
		return nil
	}
	if e.looked = time.Now(); !e.still() {
		return &models.Error{Kind: models.KindUnauthorized, Message: "The key or session that began this export is not valid any more."}
	}
	return nil
}

// readPatiently reads a page within the time of a request of its own.
func (e *exportOf[T]) readPatiently(ctx context.Context, a *API, next string) (*models.Page[T], error) {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	bounded, stop := a.Store.WhileAnswering(bounded)
	defer stop()
	page, err := e.read(bounded, a, next)
	return page, models.Because(bounded, err)
}
