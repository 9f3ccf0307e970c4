package console

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
)

func TestProbesAreToldWhatIsWrong(t *testing.T) {
	hangs, unready := error(nil), error(nil)
	h := Handler(nil, false, Health{Hangs: func(context.Context) error { return hangs }, Unready: func() error { return unready }})
	says := func(path string, want int, body string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want || w.Body.String() != body {
			t.Errorf("%s: %d, %q", path, w.Code, w.Body)
		}
	}
	says("/healthz", 200, "ok\n")
	hangs = errors.New("an event loop hangs")
	says("/healthz", 503, "an event loop hangs\n")
	says("/readyz", 200, "ok\n")
	unready = errors.New("shutting down")
	says("/readyz", 503, "shutting down\n")
}
