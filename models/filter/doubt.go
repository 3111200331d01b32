package filter

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// doubts records the first thing that is hardly meant as it is read.
func (p *searchParser) doubts(offset int, message string) {
	if p.doubt == nil {
		line, column := position(p.s, offset)
		p.doubt = &Error{Message: message, Line: line, Column: column}
	}
}

// looksLikeTime recognizes a time of the day, or a date with one, which is read as a condition on a field called 12.
var looksLikeTime = regexp.MustCompile(`^([0-9]+(?:-[0-9]+-[0-9]+[Tt][0-9]+)?(?::[0-9]+)+(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]+(?::[0-9]+)?)?)(?:[\s)]|$)`)

// alike are characters that look like those of the notation and are others, with what is meant.
var alike = map[rune]string{
	'\u2212': "-", '\u2010': "-", '\u2011': "-", '\u2012': "-", '\u2013': "-", '\u2014': "-", '\uff0d': "-",
	'\u2264': "<=", '\u2265': ">=", '\uff1c': "<", '\uff1e': ">", '\u201c': `"`, '\u201d': `"`, '\u201e': `"`, '\uff02': `"`, '\u2018': "'",
	'\u2019': "'", '\u201a': "'",
}

// hardlyMeant says what is wrong with a value without quotes that begins with a character which only looks like a sign or a
// quote, or that is a number but for its digits: it is compared as a text, and hardly ever matches.
func hardlyMeant(text string) string {
	r, size := utf8.DecodeRuneInString(text)
	sign := alike[r]
	rest := strings.Map(func(r rune) rune {
		if r >= '\uff10' && r <= '\uff19' { // full-width digits
			return r - '\uff10' + '0'
		}
		return r
	}, text[size:])
	_, number := Number(rest)
	switch {
	case sign == "-" && number:
		return "`" + string(r) + "` is not the sign of a number; write `-" + shorten(rest) + "`, or the text in quotes"
	case sign != "" && sign != "-":
		return "`" + string(r) + "` only looks like `" + sign + "`; write that, or the whole value in quotes"
	case r >= '\uff10' && r <= '\uff19' && (number || rest == ""):
		return "`" + shorten(text) + "` has digits of another kind; write `" + string(r-'\uff10'+'0') + shorten(rest) +
			"`, or the text in quotes"
	}
	return ""
}

// comparedLike recognizes a comparison as most other languages write it: total >= 10, status = "paid".
var comparedLike = regexp.MustCompile(`^([A-Za-z_][\w.-]*)\s*(==|=|!=|>=|<=|>|<)\s*("[^"]*"|'[^']*'|[^\s()"'=<>!][^\s()]*)`)
