package api

import (
	"archive/zip"
	"bufio"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/waybill-dev/waybill/models"
)

// All that a tenant has, as a ZIP of JSON Lines that is made while it is sent: nothing is stored here, and nothing is left behind
// when the reader goes away. A ZIP names its files at its end, so that one that was cut off is no whole one to any program.
//
// It reads page by page, each in a short statement, up to the moment at which it began. One snapshot for all would keep
// PostgreSQL from vacuuming for as long as the slowest reader takes, and would send what is erased meanwhile.

// exportFormat is the version of what is in the ZIP.
const exportFormat = 1

// ExportTenantRequest asks for all that a tenant has.
type ExportTenantRequest struct {
	Tenant string `path:"tenant"`
}

// exportedFileJSON says what a file of the ZIP holds.
type exportedFileJSON struct {
	Name   string `json:"name"`
	About  string `json:"about"`
	Schema string `json:"schema"` // of each line, in openapi.json
	Rows   int    `json:"rows"`
	Bytes  int64  `json:"bytes"` // not compressed
}

// exportManifest is manifest.json, the last file of the ZIP.
type exportManifest struct {
	Format     int                `json:"format"`
	TenantID   string             `json:"tenant_id"`
	BaseURL    string             `json:"base_url"`
	From       time.Time          `json:"started_at"` // what was received until then is in it
	To         time.Time          `json:"finished_at"`
	By         string             `json:"exported_by"`
	LeftOut    []string           `json:"left_out"`
	Files      []exportedFileJSON `json:"files"`
	Compressed string             `json:"encoding"`
}

var leftOut = []string{
	"Secrets: credentials of destinations and channels are masked, and keys, tokens, links and passwords are not in it.",
	"Data of events that was erased, and what was searched for in erasures.",
	"Deleted destinations; deliveries and attempts name their IDs.",
}

// tenantExport is an export under way.
type tenantExport struct {
	api   *API
	call  *Call
	zip   *zip.Writer
	still func() bool
	files []exportedFileJSON
}

// exportPart is a file of the ZIP.
type exportPart interface {
	write(ctx context.Context, x *tenantExport) error
}

// partOf is a file whose lines come from lists, one after the other.
type partOf[T any] struct {
	file, about, schema string
	lists               []rows[T]
}

func (p partOf[T]) write(ctx context.Context, x *tenantExport) error {
	entry, err := x.zip.CreateHeader(&zip.FileHeader{Name: p.file, Method: zip.Deflate, Modified: time.Now()})
	if err != nil {
		return err
	}
	f := exportedFileJSON{Name: p.file, About: p.about, Schema: "openapi.json#/components/schemas/" + p.schema}
	for _, list := range p.lists {
		e := &exportOf[T]{rows: list, left: -1, size: exportFirst, still: x.still}
		page, err := e.readPatiently(ctx, x.api, "")
		if err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		out := bufio.NewWriterSize(counted{entry, &e.sent}, 32<<10)
		lines := lineEncoder(out)
		write := func(row T) error {
			f.Rows++
			return lines.Encode(e.json(row))
		}
		if err := e.pages(ctx, x.api, page, write, out); err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		f.Bytes += e.sent
	}
	x.files = append(x.files, f)
	return nil
}

// paged is a list of one order that is read page by page.
func paged[T any](most int, page func(ctx context.Context, limit int, next string) (*models.Page[T], error), toJSON func(T) any) rows[T] {
	return rows[T]{most: most, page: page, json: toJSON}
}

// whole is a list that is read at once.
func whole[T any](read func(ctx context.Context) ([]T, error), toJSON func(T) any) rows[T] {
	return rows[T]{most: models.MaxLimit, json: toJSON, page: func(ctx context.Context, _ int, _ string) (*models.Page[T], error) {
		list, err := read(ctx)
		return &models.Page[T]{Items: list}, err
	}}
}

func asIs[T any](v T) any { return v }

// exportTenant answers the API with all that a tenant has.
func (a *API) exportTenant() fiber.Handler {
	return answering(a, models.MayAdmin, func(ctx context.Context, c *fiber.Ctx, call *Call, req *ExportTenantRequest) error {
		_, key, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
		key = strings.TrimSpace(key)
		return a.SendTenant(ctx, c, call, req, func() bool { return a.mayStill(key, models.MayAdmin) })
	})
}

// SendTenant streams all that a tenant has. still reports whether the caller may go on.
func (a *API) SendTenant(ctx context.Context, c *fiber.Ctx, call *Call, req *ExportTenantRequest, still func() bool) error {
	t, err := a.Store.Tenant(ctx, call.Scope(), req.Tenant)
	if err != nil {
		return err
	}
	leave, err := a.exports.take(call.callerName())
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/zip")
	c.Set(fiber.HeaderContentDisposition, `attachment; filename="tenant-`+fileName(t.ID)+"-"+time.Now().UTC().Format("2006-01-02-150405")+`.zip"`)
	c.Set(fiber.HeaderCacheControl, "no-store")
	if c.Method() == http.MethodHead {
		leave()
		return nil
	}
	// It is in the log before anything is sent.
	if err := a.Store.Audit(models.WithAsker(ctx, call.Asker()), models.AuditEntry{Scope: t.Scope(), Action: "export.start",
		Object: t.ID, Detail: map[string]any{"format": "zip"}}); err != nil {
		leave()
		return err
	}
	out, in := io.Pipe() // which the server closes when its reader goes away, or takes nothing
	go func() {
		defer leave()
		// The request's own time is over when its handler returns, and the answer is only begun then.
		ctx := context.WithoutCancel(ctx)
		buffered := bufio.NewWriterSize(in, 64<<10)
		x := &tenantExport{api: a, call: call, zip: zip.NewWriter(buffered), still: still}
		err := x.run(ctx, t)
		if err == nil {
			err = buffered.Flush()
		}
		a.auditExport(ctx, x, t, err)
		_ = in.CloseWithError(err) // always returns nil
	}()
	c.Context().SetBodyStream(out, -1)
	return nil
}

// auditExport notes how an export ended, also one that was cut off.
func (a *API) auditExport(ctx context.Context, x *tenantExport, t *models.Tenant, err error) {
	e := models.AuditEntry{Scope: t.Scope(), Action: "export.finish", Object: t.ID, Detail: map[string]any{}}
	for _, f := range x.files {
		e.Detail[strings.TrimSuffix(f.Name, ".jsonl")] = f.Rows
	}
	switch {
	case errors.Is(err, io.ErrClosedPipe):
		e.Outcome = "The download was cut off."
	case err != nil:
		e.Outcome = models.AsError(err).Message
		a.Log.Error("the export of a tenant broke off", "request_id", x.call.RequestID, "error", err)
	}
	bounded, cancel := context.WithTimeout(models.WithAsker(ctx, x.call.Asker()), requestTimeout)
	defer cancel()
	if err := a.Store.Audit(bounded, e); err != nil {
		a.Log.Error("note the end of an export", "request_id", x.call.RequestID, "error", err)
	}
}

// run writes the ZIP.
func (x *tenantExport) run(ctx context.Context, t *models.Tenant) error {
	x.zip.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	d, err := x.api.Describe()
	if err != nil {
		return err
	}
	m := exportManifest{Format: exportFormat, TenantID: t.ID, BaseURL: x.api.Cfg.BaseURL, From: time.Now().UTC(), By: x.call.Actor.Name,
		LeftOut: leftOut, Compressed: "UTF-8; files ending in .jsonl have one JSON document a line"}
	for _, p := range x.parts(t.ID, m.From) {
		if err := p.write(ctx, x); err != nil {
			return err
		}
	}
	m.Files, m.To = x.files, time.Now().UTC()
	manifest, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"openapi.json", d.JSON}, {"manifest.json", append(manifest, '\n')}} {
		entry, err := x.zip.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: time.Now()})
		if err != nil {
			return err
		}
		if _, err := entry.Write(f.text); err != nil {
			return err
		}
	}
	return x.zip.Close()
}

// fileName is an id as a part of a file's name.
func fileName(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, id)
}
