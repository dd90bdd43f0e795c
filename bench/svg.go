// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// plot is a chart of lines whose axes are both logarithmic, so that what grows in
// proportion is a slope of 45 degrees wherever it begins.
type plot struct {
	id, title, x, y string
}

// plots are in the order of the document.
var plots = []plot{
	{"pass", "One pass over open connections", "open connections", "CPU time, ms"},
	{"resident", "Memory with open connections", "open connections", "MiB"},
	{"interfaces", "A collector with nothing to do", "interfaces", "CPU time, ms"},
	{"interface-maps", "Kernel memory with interfaces", "interfaces", "MiB"},
}

// point is what was measured at one amount of work, line how it goes on with more.
type point struct{ X, Y float64 }

type line struct {
	Name   string
	Points []point
}

// Sizes in pixels: of the chart and of the margins around its axes.
const (
	width, height            = 640, 360
	left, right, top, bottom = 70, 20, 40, 50
)

// colours are told apart by people who see colours in other ways, on light and on
// dark ground.
var colours = []string{"#0b7fc2", "#d9651d", "#2a9d6f"}

const style = `<style>
text { font: 13px sans-serif; fill: #24292f } .grid { stroke: #d0d7de } .ground { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #3d444d } .ground { fill: #0d1117 } }
</style>`

// svg draws the chart.
func (p plot) svg(lines []line) string {
	x, y := axisOf(lines, func(p point) float64 { return p.X }), axisOf(lines, func(p point) float64 { return p.Y })
	x.from, x.to = left, width-right
	y.from, y.to = height-bottom, top
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n", width, height)
	fmt.Fprintf(&s, "<title>%s</title>\n%s\n", html.EscapeString(p.title), style)
	fmt.Fprintf(&s, `<rect class="ground" width="%d" height="%d"/>`+"\n", width, height)
	label(&s, left, top/2, "start", p.title)
	label(&s, (left+width-right)/2, height-12, "middle", p.x)
	fmt.Fprintf(&s, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n",
		(top+height-bottom)/2, html.EscapeString(p.y))
	for value := x.low; value <= x.high*1.001; value *= 10 {
		at := x.at(value)
		fmt.Fprintf(&s, `<line class="grid" x1="%.0f" y1="%d" x2="%.0f" y2="%d"/>`+"\n", at, top, at, height-bottom)
		label(&s, at, height-bottom+18, "middle", short(value))
	}
	for value := y.low; value <= y.high*1.001; value *= 10 {
		at := y.at(value)
		fmt.Fprintf(&s, `<line class="grid" x1="%d" y1="%.0f" x2="%d" y2="%.0f"/>`+"\n", left, at, width-right, at)
		label(&s, left-8, at+4, "end", short(value))
	}
	for i, l := range lines {
		labels := -8.0
		if i > 0 { // so that labels of two lines do not meet
			labels = 18
		}
		drawLine(&s, l, colours[i%len(colours)], labels, x, y)
	}
	legend(&s, lines)
	s.WriteString("</svg>\n")
	return s.String()
}

// drawLine writes each value that many pixels below its point, or above.
func drawLine(s *strings.Builder, l line, colour string, labels float64, x, y axis) {
	var path []string
	for _, p := range l.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(p.X), y.at(p.Y)))
	}
	fmt.Fprintf(s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
	for _, p := range l.Points {
		fmt.Fprintf(s, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x.at(p.X), y.at(p.Y), colour)
		label(s, x.at(p.X), y.at(p.Y)+labels, "middle", short(p.Y))
	}
}

// legend names the lines, at the top on the right.
func legend(s *strings.Builder, lines []line) {
	for i, l := range lines {
		at := float64(top + 14 + 18*i)
		fmt.Fprintf(s, `<rect x="%d" y="%.0f" width="12" height="12" fill="%s"/>`+"\n", left+10, at-10, colours[i%len(colours)])
		label(s, left+28, at, "start", l.Name)
	}
}

func label(s *strings.Builder, x, y float64, anchor, text string) {
	fmt.Fprintf(s, `<text x="%.0f" y="%.0f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(text))
}

// axis maps values to pixels, from low, a power of ten, to high, another.
type axis struct{ low, high, from, to float64 }

func axisOf(lines []line, value func(point) float64) axis {
	least, most := math.Inf(1), 0.0
	for _, l := range lines {
		for _, p := range l.Points {
			least, most = min(least, value(p)), max(most, value(p))
		}
	}
	low := math.Pow(10, math.Floor(math.Log10(least)))
	high := math.Pow(10, math.Ceil(math.Log10(most)))
	return axis{low: low, high: max(high, low*10)}
}

func (a axis) at(value float64) float64 {
	return a.from + (a.to-a.from)*math.Log10(value/a.low)/math.Log10(a.high/a.low)
}

// short writes a number with three digits at most, thousands as k.
func short(value float64) string {
	if value >= 1000 {
		return fmt.Sprintf("%.3gk", value/1000)
	}
	return fmt.Sprintf("%.3g", value)
}
