package api

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/waybill-dev/waybill/models"
)

// merged puts a list together of those of several cells, which are asked at once: list reads that of one of them. What does not answer
// in time is left out and named.
func merged[T any](ctx context.Context, a *API, c *Call, p cursorParams, limit, most int,
	list func(ctx context.Context, x *API, c *Call, next string) (*models.Page[T], error)) (*models.Page[T], error) {
	part, err := p.orDefault().part(limit, most)
	if err != nil {
		return nil, err
	}
	from, err := part.Cells(c.cells)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range c.cells {
		if _, more := from[name]; more {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return &models.Page[T]{Items: []T{}, Limit: part.Limit, Dir: "desc"}, nil
	}
	one := *c
	one.cells = nil
	pages := map[string]*models.Page[T]{}
	var mu sync.Mutex
	_, err = a.eachCell(ctx, names, func(ctx context.Context, i int, x *API) error {
		page, err := list(ctx, x, &one, from[names[i]])
		if err != nil {
			return err
		}
		if !page.Mergeable() {
			return models.Invalid("order_by", "must be left out where tenants of several databases are listed together, or else name tenant_id or cell ("+
				strings.Join(a.allCells(), ", ")+")")
		}
		mu.Lock()
		defer mu.Unlock()
		pages[names[i]] = page
		return nil
	})
	if err != nil {
		return nil, err
	}
	mu.Lock() // some may be late
	defer mu.Unlock()
	out := models.MergePages(from, pages)
	c.miss(out.Missing)
	return out, nil
}

// mergedAs is merged of what a list's Find… reads for one cell.
func mergedAs[R any, P interface {
	*R
	cursor() *cursorParams
}, T any](ctx context.Context, a *API, c *Call, req P, limit, most int,
	find func(x *API, ctx context.Context, c *Call, req P, limit, most int) (*models.Page[T], error)) (*models.Page[T], error) {
	return merged(ctx, a, c, *req.cursor(), limit, most, func(ctx context.Context, x *API, c *Call, next string) (*models.Page[T], error) {
		part := *req
		P(&part).cursor().Next = next
		return find(x, ctx, c, &part, limit, most)
	})
}

// miss notes that an answer lacks what is in some cells.
func (c *Call) miss(cells []string) {
	for _, name := range cells {
		if !slices.Contains(c.Missing, name) {
			c.Missing = append(c.Missing, name)
		}
	}
}

// whole is an error when an answer lacks what is in some cells, for answers that must not.
func (c *Call) whole() error {
	if len(c.Missing) == 0 {
		return nil
	}
	return cellAway(strings.Join(c.Missing, ", "), nil)
}
