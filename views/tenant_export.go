package views

import "github.com/waybill-dev/waybill/models"

// TenantExportURL is the page that offers all that a tenant has, or with "download" the file itself.
func TenantExportURL(tenant string, tail ...string) string {
	return path(append([]string{"t", tenant, "export"}, tail...)...)
}

// TenantExport is the page that offers all that a tenant has.
type TenantExport struct {
	Page
	Events *models.EventCount // nil where they were not counted in time
}

// size says how much there is.
func (v TenantExport) size() string {
	switch {
	case v.Events == nil:
		return "The events were not counted: there are many."
	case v.Events.Exact:
		return plurals(v.Events.Events, "event", "events") + " with what became of them."
	}
	return "About " + plurals(v.Events.Events, "event", "events") + " with what became of them."
}
