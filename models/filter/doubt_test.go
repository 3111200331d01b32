package filter

import "testing"

// TestWhatIsHardlyMeant: what somebody writes is not read as something that they can hardly mean, and what is stored stays.
func TestWhatIsHardlyMeant(t *testing.T) {
	t.Parallel()
	for text, refused := range map[string]bool{
		"12:30": true, "12:30:05": true, "(12:30)": true, "status:paid AND 12:30": true, "NOT 12:30": true, "2026-01-31T12:30": true,
		"2026-01-31T12:30:00Z": true,
		"total:\u22125":        true, "total:>=\u20135": true, "total:\u226510": true, "title:\u201cAlbum\u201d": true, "total:\uff11\uff12": true,
		"total:-\uff15": false,
		"data.12:30":    false, "12:>=30": false, "12:abc": false, "lines.0:30": false, `at:"12:30"`: false, "total:-5": false, "total:>=-5": false, "-total:5": false,
		"title:\u2014": false, `title:"\u201cAlbum\u201d"`: false, `title:\\\u22125`: false, "size:10\u201320": false, "title:\u22125*": false,
	} {
		_, err := ParseNewSearch(text)
		stored, storedErr := ParseSearch(text)
		if got := err != nil; got != refused && (storedErr == nil) {
			t.Errorf("%q: refused %v, want %v: %v", text, got, refused, err)
		}
		if storedErr != nil || stored.tree == nil {
			if text != "2026-01-31T12:30:00Z" && text != "12:30:05" { // which have never been read
				t.Errorf("stored %q: %v", text, storedErr)
			}
			continue
		}
		// What is printed of it can be written.
		printed, _, _, err := stored.Convert(NotationSearch)
		if err != nil || printed == nil {
			continue
		}
		if _, err := ParseNew(printed); err != nil {
			t.Errorf("%q is printed as %s: %v", text, printed, err)
		}
	}
}
