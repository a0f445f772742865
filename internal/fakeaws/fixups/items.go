package fixups

import "strings"

// mapItems rewrites the items of every <set> in a response of moto: f returns the
// replacement of an item and whether to keep it. Items can be nested, which a
// regular expression does not handle. moto writes XML without white space.
func mapItems(xml, set string, f func(item string) (string, bool)) string {
	var out strings.Builder
	opening, closing := "<"+set+">", "</"+set+">"
	for {
		before, inside, ok := strings.Cut(xml, opening)
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		out.WriteString(opening)
		for strings.HasPrefix(inside, "<item>") {
			end := itemEnd(inside)
			if item, keep := f(inside[:end]); keep {
				out.WriteString(item)
			}
			inside = inside[end:]
		}
		inside = strings.TrimPrefix(inside, closing)
		out.WriteString(closing)
		xml = inside
	}
}

// itemEnd returns the length of the <item>…</item> at the start of xml.
func itemEnd(xml string) int {
	const opening, closing = "<item>", "</item>"
	depth, at := 0, 0
	for {
		next := strings.IndexByte(xml[at:], '<')
		if next < 0 {
			return len(xml)
		}
		at += next
		switch {
		case strings.HasPrefix(xml[at:], opening):
			depth++
			at += len(opening)
		case strings.HasPrefix(xml[at:], closing):
			depth--
			at += len(closing)
			if depth == 0 {
				return at
			}
		default:
			at++
		}
	}
}

// element returns the text of the first <name>…</name> in xml.
func element(xml, name string) string {
	_, after, ok := strings.Cut(xml, "<"+name+">")
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(after, "</"+name+">")
	return text
}
