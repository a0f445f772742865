package lint

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

const hoursPerMonth = 730 // as in AWS's pricing calculator

// TestCostsAddUp computes the products and the total in the table of costs.
func TestCostsAddUp(t *testing.T) {
	rows, total, shown := 0, 0.0, 0.0
	for line := range strings.Lines(read(t, "templates/docs/guides/aws.md")) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 {
			continue
		}
		number := func(n int) float64 {
			v, _ := strconv.ParseFloat(strings.TrimSpace(cells[n]), 64) // headers have none
			return v
		}
		month := number(5)
		if strings.TrimSpace(cells[1]) == "total" {
			shown = month
		}
		if number(2) == 0 {
			continue
		}
		rows++
		want := number(2) * number(3)
		if strings.TrimSpace(cells[4]) == "hour" {
			want *= hoursPerMonth
		}
		if math.Abs(want-month) > 0.006 {
			t.Errorf("%s: %.2f a month, want %.2f", strings.TrimSpace(cells[1]), month, want)
		}
		total += month
	}
	if rows < 5 || math.Abs(total-shown) > 0.006 {
		t.Errorf("the total of %d rows is %.2f, want %.2f", rows, shown, total)
	}
}
