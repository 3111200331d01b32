package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

type AuditJSON struct {
	ID        string          `json:"id"`
	Time      time.Time       `json:"time"`
	TenantID  *string         `json:"tenant_id" doc:"null for what concerns the whole server."`
	Actor     string          `json:"actor" doc:"Who did it."`
	ActorKind string          `json:"actor_type" api:"schema=EntryActorType"`
	Action    string          `json:"action" doc:"What was done, such as 'destination.update'."`
	Object    string          `json:"object" doc:"Id of what it was done to."`
	Outcome   string          `json:"outcome" api:"enum=ok|failed"` // ok or failed
	Error     string          `json:"error,omitempty" doc:"Why it failed."`
	Changes   []models.Change `json:"changes" api:"null" doc:"null for actions that alter nothing."`
	Detail    map[string]any  `json:"detail" api:"null"`
	Attempt   *auditAttempt   `json:"attempt,omitempty" doc:"Of a manual retry: the attempt that it asked for, as it stands now."`
	IP        string          `json:"ip" doc:"Where from."`
	RequestID string          `json:"request_id"`
}

// auditAttempt is the attempt that a manual retry asked for.
type auditAttempt struct {
	ID         string      `json:"id"`
	DeliveryID string      `json:"delivery_id"`
	Outcome    string      `json:"outcome" api:"schema=RetryOutcome"`
	Time       *time.Time  `json:"time" doc:"When it was started; null before."`
	Code       models.Code `json:"code,omitempty" doc:"As the attempt shows it."`
	Error      string      `json:"error,omitempty" doc:"What went wrong."`
}

func auditToJSON(e *models.AuditEntry) AuditJSON {
	j := AuditJSON{ID: e.ID(), Time: e.At(), Actor: e.Actor, ActorKind: e.ActorKind, Action: e.Action, Object: e.Object,
		Outcome: models.AuditOK, Changes: e.Changes, Detail: e.Detail,
		IP: e.IP, RequestID: e.RequestID}
	if e.Outcome != "" {
		j.Outcome, j.Error = models.AuditFailed, e.Outcome
	}
	if e.TenantID != "" {
		j.TenantID = &e.TenantID
	}
	if at := e.Attempt; at != nil {
		j.Attempt = &auditAttempt{ID: at.ID, DeliveryID: at.DeliveryID, Outcome: at.Outcome, Code: at.Code, Error: at.Error}
		if !at.At.IsZero() {
			j.Attempt.Time = &at.At
		}
	}
	return j
}

// auditTenant chooses whose entries are read.
type auditTenant struct {
	Tenant string `query:"tenant_id" doc:"Only of this tenant. Needed unless the key is a tenant's or may 'admin'."`
}

// AuditScope is whose entries the caller may read. Those about the whole server tell who logged in, with which key, from
// where, so that they take an administrator.
func (a *API) AuditScope(ctx context.Context, c *Call, tenant string) (models.Scope, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), tenant)
	if err == nil && scope.All() && !c.Actor.Can(models.MayAdmin) {
		err = &models.Error{Kind: models.KindForbidden, Message: "The audit log of the whole server needs the permission admin, which " +
			c.Actor.Name +
			" does not have. Give tenant_id for the log of one tenant."}
	}
	return scope, err
}

type ListAuditRequest struct {
	auditTenant
	models.AuditQuery
	pageParams
}

func (a *API) FindAudit(ctx context.Context, c *Call, req *ListAuditRequest, limit, most int) (*models.Page[*models.AuditEntry], error) {
	if c.cells != nil {
		return mergedAs(ctx, a, c, req, limit, most, (*API).FindAudit)
	}
	scope, err := a.AuditScope(ctx, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	if req.Page, err = req.part(limit, most); err != nil {
		return nil, err
	}
	return a.Store.AuditLog(ctx, scope, req.AuditQuery)
}

func (a *API) listAudit(ctx context.Context, c *Call, req *ListAuditRequest) (*Reply, error) {
	page, err := a.FindAudit(ctx, c, req, 100, 1000)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: pageToJSON(page, auditToJSON)}, nil
}

type auditEntryRequest struct {
	Entry  string `path:"entry"`
	Tenant string `query:"tenant_id" doc:"Needed unless the key is a tenant's or may 'admin'."`
}

func (a *API) getAuditEntry(ctx context.Context, c *Call, req *auditEntryRequest) (*Reply, error) {
	scope, err := a.AuditScope(ctx, c, req.Tenant)
	if err != nil {
		return nil, err
	}
	e, err := a.Store.AuditEntry(ctx, scope, req.Entry)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: auditToJSON(e)}, nil
}

// The formats of an export.
const (
	exportCSV   = "csv"
	exportLines = "jsonl"
)

type ExportAuditRequest struct {
	Format string `query:"format" api:"enum=csv|jsonl,default=jsonl"` // csv or jsonl (default)
	Dir    string `query:"dir" api:"enum=asc|desc,default=desc" doc:"Newest or oldest first."`
	auditTenant
	models.AuditQuery
}

// exportTimeout bounds an export, also for a reader who takes their time.
const exportTimeout = 15 * time.Minute

// exportAudit answers the API with all entries that match, however many those are.
func (a *API) exportAudit(c *fiber.Ctx) error {
	ctx, cancel := CallContext()
	defer cancel()
	return a.WhileAnswering(ctx, c, func(ctx context.Context) error {
		call, err := a.APICall(ctx, c, models.MayRead)
		if err != nil {
			return err
		}
		var req ExportAuditRequest
		if err := BinderOf[ExportAuditRequest]().fill(c, &req, false); err != nil {
			return err
		}
		return a.SendAudit(ctx, c, call, &req)
	})
}

// SendAudit streams an export. What is wrong with the request is told before anything is sent; when the database fails
// later on, the answer breaks off, which every client notices, rather than to look complete.
func (a *API) SendAudit(ctx context.Context, c *fiber.Ctx, call *Call, req *ExportAuditRequest) error {
	if req.Format == "" {
		req.Format = exportLines
	}
	if req.Format != exportCSV && req.Format != exportLines {
		return models.Invalid("format", "must be csv or jsonl")
	}
	list := &ListAuditRequest{req.auditTenant, req.AuditQuery, pageParams{cursorParams: cursorParams{Dir: req.Dir}}}
	first, err := a.FindAudit(ctx, call, list, models.MaxLimit, models.MaxLimit)
	if err == nil {
		err = call.whole()
	}
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, map[string]string{exportCSV: "text/csv; charset=utf-8; header=present",
		exportLines: "application/x-ndjson"}[req.Format])
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="audit-`+time.Now().UTC().Format("2006-01-02-150405")+"."+req.Format+`"`)
	c.Set(fiber.HeaderCacheControl, "no-store")
	if c.Method() == http.MethodHead {
		return nil
	}
	out, in := io.Pipe()
	go func() {
		// The request's own time is over when its handler returns, and the answer is only begun then.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exportTimeout)
		defer cancel()
		err := a.writeExport(ctx, in, call, list, first, req.Format)
		if err != nil && err != io.ErrClosedPipe { // the reader went away
			a.Log.Error("the export of the audit log broke off", "request_id", call.RequestID, "error", err)
		}
		_ = in.CloseWithError(err) // always returns nil
	}()
	c.Context().SetBodyStream(out, -1)
	return nil
}

func (a *API) writeExport(ctx context.Context, w io.Writer, call *Call, list *ListAuditRequest, page *models.Page[*models.AuditEntry],
	format string) (err error) {
	buffered := bufio.NewWriterSize(w, 32<<10)
	write := lineWriter(buffered)
	if format == exportCSV {
		if write, err = csvWriter(buffered); err != nil {
			return err
		}
	}
	for {
		for _, e := range page.Items {
			if err := write(auditToJSON(e)); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return buffered.Flush()
		}
		list.Next = page.Next
		if page, err = a.FindAudit(ctx, call, list, models.MaxLimit, models.MaxLimit); err == nil {
			err = call.whole()
		}
		if err != nil {
			return err
		}
	}
}

// lineEncoder prints values as JSON, one a line, as people wrote them.
func lineEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

func lineWriter(w io.Writer) func(AuditJSON) error {
	e := lineEncoder(w)
	return func(j AuditJSON) error { return e.Encode(j) }
}

// AuditColumns are the columns of an export as CSV (RFC 4180).
var AuditColumns = []string{"time", "id", "tenant_id", "actor", "actor_type", "action", "object", "outcome", "error", "ip", "request_id",
	"changes", "detail", "attempt", "attempt_outcome"}

func csvWriter(w io.Writer) (func(AuditJSON) error, error) {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	// A csv.Writer has a buffer of its own, which must not keep what an error is to be told about.
	row := func(cells []string) error {
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		if err := out.Write(cells); err != nil {
			return err
		}
		out.Flush()
		return out.Error()
	}
	asJSON := func(v any, none bool) (string, error) {
		if none {
			return "", nil
		}
		var b strings.Builder
		err := lineEncoder(&b).Encode(v)
		return strings.TrimSuffix(b.String(), "\n"), err
	}
	return func(j AuditJSON) error {
		tenant := ""
		if j.TenantID != nil {
			tenant = *j.TenantID
		}
		changes, err := asJSON(j.Changes, j.Changes == nil)
		if err != nil {
			return fmt.Errorf("print the changes: %w", err)
		}
		detail, err := asJSON(j.Detail, j.Detail == nil)
		if err != nil {
			return fmt.Errorf("print the detail: %w", err)
		}
		attempt, outcome := "", ""
		if j.Attempt != nil {
			attempt, outcome = j.Attempt.ID, j.Attempt.Outcome
		}
		return row([]string{j.Time.Format("2006-01-02T15:04:05.000Z"), j.ID, tenant, j.Actor, j.ActorKind, j.Action, j.Object, j.Outcome,
			j.Error, j.IP, j.RequestID, changes, detail, attempt, outcome})
	}, row(append([]string(nil), AuditColumns...))
}

// harmless keeps spreadsheets from taking a text for a formula: anybody can have one logged, by logging in under it.
// (OWASP, "CSV Injection")
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
