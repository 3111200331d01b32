package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/models"
)

type savedViewJSON struct {
	ID        string         `json:"id"`
	TenantID  *string        `json:"tenant_id" doc:"null for the operators' own, which are over all tenants."`
	Owner     *string        `json:"owner" doc:"Name of the user whose it is; null for a shared one."`
	List      string         `json:"list" api:"enum=events"`
	Name      string         `json:"name"`
	Query     string         `json:"query" doc:"Conditions of the list as in its address, such as 'status=failed&topic=order.created'."`
	Position  int            `json:"position" doc:"From 1, among the shared ones or the user's own."`
	CreatedBy string         `json:"created_by"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
	Count     *viewCountJSON `json:"count,omitempty" doc:"With 'counts=true', what the list has now; absent where counting took too long."`
}

type viewCountJSON struct {
	Events int  `json:"events"`
	Exact  bool `json:"exact" doc:"false for an estimate from the newest events."`
}

func savedViewToJSON(v *models.SavedView) savedViewJSON {
	j := savedViewJSON{ID: v.ID(), List: v.List, Name: v.Name, Query: v.Query, Position: v.Position, CreatedBy: v.CreatedBy,
		CreatedAt: v.CreatedAt.UTC(), UpdatedAt: v.UpdatedAt.UTC()}
	if v.TenantID != "" {
		j.TenantID = &v.TenantID
	}
	if v.Owner != "" {
		j.Owner = &v.Owner
	}
	if n := v.Count; n != nil {
		j.Count = &viewCountJSON{n.Events, n.Exact}
	}
	return j
}

// savedQuery is what a view may save: the conditions and the order of the list, and a time that goes along with now.
type savedQuery struct {
	tenantParams
	models.EventQuery
	Dir   string `query:"dir"`
	Range string `query:"range"`
}

// viewRanges are the times of a view that end now.
var viewRanges = map[string]time.Duration{"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}

var savedQueryBinder = BinderOf[savedQuery]()

// set reads the values of a parameter of the query into a request.
func (b *binder) set(req any, name string, values []string) error {
	for _, f := range b.Fields {
		if f.Kind == "query" && f.Name == name {
			return SetParam(reflect.ValueOf(req).Elem().FieldByIndex(f.Index), values)
		}
	}
	return nil
}

// readSavedQuery reads the query of a view. canonical is the same query in one order, without what says nothing.
func readSavedQuery(raw string) (q savedQuery, canonical string, err error) {
	values, err := url.ParseQuery(strings.TrimPrefix(raw, "?"))
	if err != nil {
		return q, "", models.Invalid("query", "must be conditions as in the list's address: status=failed&topic=order.created")
	}
	for name, given := range values {
		if given = slices.DeleteFunc(given, func(v string) bool { return v == "" }); len(given) == 0 {
			delete(values, name)
			continue
		}
		if values[name] = given; !savedQueryBinder.known[name] {
			return q, "", models.Invalid("query", "has "+name+", which is no condition of this list")
		}
		if err := savedQueryBinder.set(&q, name, given); err != nil {
			return q, "", models.Invalid("query", name+" "+err.Error())
		}
	}
	if q.Range != "" && viewRanges[q.Range] == 0 {
		return q, "", models.Invalid("query", "range must be 1h, 24h, 7d or 30d")
	}
	if q.Dir != "" && q.Dir != "asc" && q.Dir != "desc" {
		return q, "", models.Invalid("query", "dir must be asc or desc")
	}
	return q, values.Encode(), nil
}

// within is the scope and the query of the list at a time.
func (q savedQuery) within(ctx context.Context, a *API, scope models.Scope, now time.Time) (models.Scope, models.EventQuery, error) {
	if q.Range != "" {
		q.Since = now.Add(-viewRanges[q.Range])
	}
	scope, err := a.Store.Of(ctx, scope, q.Tenants...)
	return scope, q.EventQuery, err
}

// checkViewQuery reads the query of a view that is to be saved, and says what is wrong with it.
func (a *API) checkViewQuery(ctx context.Context, scope models.Scope, raw string) (canonical string, err error) {
	q, canonical, err := readSavedQuery(raw)
	if err != nil {
		return "", err
	}
	if len(q.Tenants) > 0 && !scope.All() {
		return "", models.Invalid("query", "has tenant_id: this view is of one tenant already")
	}
	of, eq, err := q.within(ctx, a, scope, time.Now())
	if err == nil {
		err = a.Store.CheckEvents(ctx, of, eq)
	}
	var e *models.Error
	if errors.As(err, &e) && (e.Kind == models.KindInvalid || e.Kind == models.KindNotFound) {
		message := e.Message
		if len(e.Fields) > 0 {
			message = strings.Join(e.Problems(), "; ")
		}
		return "", models.Invalid("query", "cannot be asked: "+message)
	}
	return canonical, err
}

type ListViewsRequest struct {
	Tenant string `query:"tenant_id" doc:"Of this tenant; without it, of the caller's own, or of the operators."`
	List   string `query:"list" api:"enum=events" doc:"Only of this list."`
	Counts bool   `query:"counts" doc:"Whether to count what each list has now."`
}

// viewCounts is how long the views of one answer may be counted.
const viewCounts = 2 * time.Second

// FindViews lists saved views that the caller sees, with counts where they are asked for.
func (a *API) FindViews(ctx context.Context, c *Call, req *ListViewsRequest) ([]*models.SavedView, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Tenant)
	if err != nil {
		return nil, err
	}
	list, err := a.Store.SavedViews(ctx, scope, c.Actor.UserID, req.List)
	if err != nil {
		return nil, err
	}
	for began, i := time.Now(), 0; req.Counts && i < len(list) && time.Since(began) < viewCounts; i++ {
		if list[i].Count, err = a.countView(ctx, scope, list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (a *API) listViews(ctx context.Context, c *Call, req *ListViewsRequest) (*Reply, error) {
	list, err := a.FindViews(ctx, c, req)
	if err != nil {
		return nil, err
	}
	out := listJSON[savedViewJSON]{Models: make([]savedViewJSON, len(list))}
	for i, v := range list {
		out.Models[i] = savedViewToJSON(v)
	}
	return &Reply{Body: out}, nil
}

// countView counts what the list of a view has; nil where it took too long, or where the view cannot be asked any more.
func (a *API) countView(ctx context.Context, scope models.Scope, v *models.SavedView) (n *models.EventCount, err error) {
	q, _, err := readSavedQuery(v.Query)
	var eq models.EventQuery
	if err == nil {
		scope, eq, err = q.within(ctx, a, scope, time.Now())
	}
	if err == nil {
		n, err = a.Store.CountEvents(ctx, scope, eq)
	}
	if Refusal(err) != nil || models.IsKind(err, models.KindNotFound) {
		err = nil
	}
	return n, err
}

type SaveViewRequest struct {
	Body struct {
		Tenant   string  `json:"tenant_id" doc:"Whose events it lists. Without it those of the caller's own tenant, or of all for operators."`
		Name     *string `json:"name" api:"required" doc:"At most 80 characters."`
		List     *string `json:"list" api:"enum=events,default=events"`
		Query    *string `json:"query" doc:"Conditions of the list as in its address; 'range' (1h, 24h, 7d, 30d) is a time that ends now. Empty for all."`
		Mine     *bool   `json:"mine" doc:"For a user who has logged in: whether the view is for them alone. Others share their views."`
		Position *int    `json:"position" api:"min=1,max=50" doc:"Its place; the last when missing."`
	} `body:"json"`
}

// SaveView saves a view.
func (a *API) SaveView(ctx context.Context, c *Call, req *SaveViewRequest) (*Reply, error) {
	scope, err := a.Store.Of(ctx, c.Scope(), req.Body.Tenant)
	if err != nil {
		return nil, err
	}
	in := models.SavedViewInput{Name: req.Body.Name, List: req.Body.List, Mine: req.Body.Mine, Position: req.Body.Position,
		Query: req.Body.Query}
	if in.Query, err = a.checkedQuery(ctx, scope, in.Query); err != nil {
		return nil, err
	}
	v, err := a.Store.SaveView(ctx, scope, c.Actor.UserID, c.Actor.Name, in)
	if err != nil {
		return nil, err
	}
	return &Reply{Status: http.StatusCreated, Body: savedViewToJSON(v), Location: WithBase(a.Base, APIPrefix+"/views/"+v.ID())}, nil
}

func (a *API) checkedQuery(ctx context.Context, scope models.Scope, query *string) (*string, error) {
	if query == nil {
		return nil, nil
	}
	canonical, err := a.checkViewQuery(ctx, scope, *query)
	return &canonical, err
}

type OneViewRequest struct {
	View string `path:"view"`
}

func (a *API) getView(ctx context.Context, c *Call, req *OneViewRequest) (*Reply, error) {
	v, err := a.Store.SavedView(ctx, c.Scope(), c.Actor.UserID, req.View)
	if err != nil {
		return nil, err
	}
	return &Reply{Body: savedViewToJSON(v)}, nil
}

type ChangeViewRequest struct {
	View string `path:"view"`
	Body struct {
		Name     *string `json:"name"`
		Query    *string `json:"query"`
		Mine     *bool   `json:"mine"`
		Position *int    `json:"position" api:"min=1,max=50"`
	} `body:"json"`
}

// ChangeView changes a view; what is absent stays as it is.
func (a *API) ChangeView(ctx context.Context, c *Call, req *ChangeViewRequest) (*Reply, error) {
	v, err := a.Store.SavedView(ctx, c.Scope(), c.Actor.UserID, req.View)
	if err != nil {
		return nil, err
	}
	scope, err := a.Store.Of(ctx, c.Scope(), v.TenantID)
	if err != nil {
		return nil, err
	}
	in := models.SavedViewInput{Name: req.Body.Name, Mine: req.Body.Mine, Position: req.Body.Position}
	if in.Query, err = a.checkedQuery(ctx, scope, req.Body.Query); err != nil {
		return nil, err
	}
	if v, err = a.Store.ChangeView(ctx, c.Scope(), c.Actor.UserID, req.View, in); err != nil {
		return nil, err
	}
	return &Reply{Body: savedViewToJSON(v)}, nil
}

// DeleteView deletes a view.
func (a *API) DeleteView(ctx context.Context, c *Call, req *OneViewRequest) (*Reply, error) {
	if err := a.Store.DeleteView(ctx, c.Scope(), c.Actor.UserID, req.View); err != nil {
		return nil, err
	}
	return &Reply{Body: success}, nil
}
