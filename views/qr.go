package views

import (
	"fmt"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// qrQuiet is how many blank modules a QR code needs around it (ISO/IEC 18004, section 9.1).
const qrQuiet = 4

// qrPath draws a text as the path of an SVG: its dark modules, a unit each. size is the side, with the quiet zone; 0 for a text that
// does not fit.
func qrPath(text string) (size int, path string) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return 0, ""
	}
	side := code.Bounds().Dx()
	var b strings.Builder
	for y := range side {
		for x := 0; x < side; x++ {
			from := x
			for x < side && dark(code.At(x, y).RGBA()) {
				x++
			}
			if x > from {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+qrQuiet, y+qrQuiet, x-from, x-from)
			}
		}
	}
	return side + 2*qrQuiet, b.String()
}

func dark(r, g, b, _ uint32) bool { return r+g+b < 3*0x8000 }

func qrBox(size int) string { return fmt.Sprintf("0 0 %d %d", size, size) }

func (v RecoveryCodes) text() string { return strings.Join(v.Codes, "\n") }
