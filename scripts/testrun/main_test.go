package main

import (
	"slices"
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: wg is not installed: apt-get install it\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestC","Elapsed":0.2}
{"Action":"output","Package":"p","Test":"TestD","Output":"    d_test.go:3: 0 of 686 requests failed\n"}
{"Action":"pass","Package":"p","Test":"TestD/sub","Elapsed":9}
{"Action":"pass","Package":"p","Test":"TestD","Elapsed":12}
{"Action":"fail","Package":"p","Elapsed":0.4}
{"ImportPath":"q","Action":"build-output","Output":"q.go:3: undefined: x\n"}
{"Action":"fail","Package":"q","Elapsed":0,"FailedBuild":"q"}
not JSON
`

func TestResultsCountTestsAndPackagesThatDidNotBuild(t *testing.T) {
	var r results
	var out strings.Builder
	if err := r.read(strings.NewReader(events), &out); err != nil {
		t.Fatal(err)
	}
	if r.passed != 3 || !slices.Equal(r.failed, []string{"p.TestC", "q"}) {
		t.Errorf("%d passed, failed %v", r.passed, r.failed)
	}
	if want := []string{"p.TestB: wg is not installed: apt-get install it"}; !slices.Equal(r.skipped, want) {
		t.Errorf("skipped %q, want %q", r.skipped, want)
	}
	for _, text := range []string{"got 1, want 2", "undefined: x", "FAIL p (0.4 s)", "not JSON", "0 of 686 requests failed"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the log does not have %q:\n%s", text, out.String())
		}
	}
	out.Reset()
	r.summarize(&out)
	if want := "Slowest 10 tests:\n     12.0 s  p.TestD\n      0.2 s  p.TestC\n      0.1 s  p.TestA\n\n"; !strings.Contains(out.String(), want) {
		t.Errorf("the summary does not have\n%s\nbut\n%s", want, out.String())
	}
	if !strings.HasSuffix(out.String(), "\n3 passed, 2 failed, 1 skipped\n") {
		t.Errorf("the summary is:\n%s", out.String())
	}
}
