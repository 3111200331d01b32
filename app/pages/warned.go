package pages

import (
	"github.com/waybill-dev/waybill/app/api"
	"github.com/waybill-dev/waybill/views"
)

// warned adds to a message what is odd about the filter that was saved. A message travels in a cookie, so that it has room for
// one warning; the page of the filter and the API tell them all.
func warned(flash *views.Flash, r *api.Reply) *views.Flash {
	if d, ok := r.Body.(api.DestinationJSON); ok && len(d.Warnings) > 0 {
		flash.Tone, flash.Text = views.ToneWarn, flash.Text+" "+d.Warnings[0].Message
	}
	return flash
}
