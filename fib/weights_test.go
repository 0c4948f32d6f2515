package fib

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestWeights(t *testing.T) {
	const gbit = 125e6 // octets per second
	for _, test := range []struct {
		shares []float64
		want   string
	}{
		{nil, "[]"},
		{[]float64{5}, "[1]"},
		{[]float64{7, 7, 7}, "[1 1 1]"},
		{[]float64{10 * gbit, 40 * gbit}, "[1 4]"},
		{[]float64{10 * gbit, 25 * gbit, 40 * gbit}, "[2 5 8]"},
		{[]float64{1, 3}, "[1 3]"},
		{[]float64{100, 99}, "[100 99]"},
		{[]float64{1, 1000}, "[1 255]"},
		{[]float64{1e-30, 2e-30}, "[1 2]"},
		{[]float64{math.MaxFloat64, math.SmallestNonzeroFloat64}, "[255 1]"},
		{[]float64{3, 0, 5}, "[1 1 1]"},
		{[]float64{3, 0}, "[1 1]"},
		{[]float64{3, -1}, "[1 1]"},
		{[]float64{3, math.NaN()}, "[1 1]"},
		{[]float64{3, math.Inf(1)}, "[1 1]"},
	} {
		if got := fmt.Sprint(Weights(test.shares)); got != test.want {
			t.Errorf("%v: %s, want %s", test.shares, got, test.want)
		}
	}
}

// TestWeightsOff: shares are off by no more than Weights says, and each part of the traffic by no
// more than that.
func TestWeightsOff(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	worstOff, worstPart := 0.0, 0.0
	for range 2000 {
		shares := make([]float64, 2+r.IntN(63))
		greatest, least, total := 0.0, math.Inf(1), 0.0
		for i := range shares {
			shares[i] = math.Exp(r.Float64() * math.Log(10)) // within a tenth of the greatest
			greatest, least, total = max(greatest, shares[i]), min(least, shares[i]), total+shares[i]
		}
		weights, sum, top := Weights(shares), 0.0, 0.0
		for i, w := range weights {
			if sum += float64(w); w < 1 || w > MaxWeight {
				t.Fatalf("%v: %v", shares, weights)
			}
			if shares[i] == greatest {
				top = float64(w)
			}
		}
		for i, w := range weights {
			x := shares[i] / greatest
			off := math.Abs(float64(w)/top/x - 1)
			if off > greatest/(2*MaxWeight*least)+1e-9 {
				t.Fatalf("%v: %v is off by %.4f", shares, shares[i], off)
			}
			worstOff = max(worstOff, off)
			worstPart = max(worstPart, math.Abs(float64(w)/sum/(shares[i]/total)-1))
		}
	}
	t.Logf("off by %.2f %% at most, parts of the traffic by %.2f %%", 100*worstOff, 100*worstPart)
	if worstOff > .0196 || worstPart > .025 {
		t.Error("more than 2 %")
	}
}

func BenchmarkWeights(b *testing.B) {
	shares := make([]float64, 64)
	for i := range shares {
		shares[i] = float64(10 + i*i)
	}
	for b.Loop() {
		Weights(shares)
	}
}
