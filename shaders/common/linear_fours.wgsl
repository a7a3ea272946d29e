// The linear kernels whose products read x and the weight four values at a time.

alias Piece = E4;
