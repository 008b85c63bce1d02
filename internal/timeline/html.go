package timeline

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

//go:embed page.html
var pageText string

// A page is the data of the template.
type page struct {
	Picture      template.HTML
	Keys, Period string
	Now          moment
	Past, Future []change
}

// A change is a line of the table.
type change struct {
	At        moment
	ID, Short string
	Use       string
	Planned   bool
	From, To  string
	Reason    string
}

// A moment is an instant for people and for machines.
type moment struct{ Text, Exact string }

// HTML writes t as one page: the picture of [SVG] without its title, and a
// table of the changes of state with their reasons, the past ones apart from
// the planned ones.
func HTML(w io.Writer, t *rotation.Timeline) error {
	c, err := newChart(t)
	if err != nil {
		return err
	}
	picture, err := c.svg(false)
	if err != nil {
		return err
	}
	tmpl, err := template.New("page").Parse(pageText)
	if err != nil {
		return fmt.Errorf("timeline: template: %w", err)
	}
	p := page{Picture: template.HTML(picture), Keys: count(len(c.Rows), "key"), Period: c.period(), Now: c.moment(c.Now)}
	past, future := c.history()
	p.Past, p.Future = c.changes(past), c.changes(future)
	var out bytes.Buffer
	if err := tmpl.Execute(&out, p); err != nil {
		return fmt.Errorf("timeline: page: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

func (c *chart) moment(t time.Time) moment { return moment{t.Format(c.layout()), instant(t)} }

func (c *chart) changes(events []rotation.Event) []change {
	var list []change
	for _, e := range events {
		list = append(list, change{
			At: c.moment(e.At), ID: e.ID, Short: c.short[e.ID], Use: string(e.Use), Planned: e.Planned,
			From: from(e), To: e.To.String(), Reason: e.Reason,
		})
	}
	return list
}
