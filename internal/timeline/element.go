package timeline

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
)

// An element is a part of a picture. encoding/xml quotes its attributes and
// texts.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []*element
}

// el returns an element. attrs are names and values in turn; a value is a
// string or a number.
func el(name string, attrs ...any) *element {
	e := &element{XMLName: xml.Name{Local: name}}
	e.set(attrs...)
	return e
}

// set adds attributes, or changes existing ones.
func (e *element) set(attrs ...any) {
	for i := 0; i+1 < len(attrs); i += 2 {
		name := xml.Name{Local: fmt.Sprint(attrs[i])}
		at := slices.IndexFunc(e.Attrs, func(a xml.Attr) bool { return a.Name == name })
		if at < 0 {
			at = len(e.Attrs)
			e.Attrs = append(e.Attrs, xml.Attr{Name: name})
		}
		e.Attrs[at].Value = value(attrs[i+1])
	}
}

// value writes numbers with at most two digits after the point, so that the
// same picture has the same bytes on every machine.
func value(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(float64(int64(f*100+0.5))/100, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func (e *element) add(children ...*element) *element {
	e.Children = append(e.Children, children...)
	return e
}

func (e *element) text(s string) *element {
	e.Text = s
	return e
}

// title adds a text that is shown on hover.
func (e *element) title(s string) *element {
	return e.add(el("title").text(s))
}
