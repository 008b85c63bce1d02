package diagnose

// Distance is how far off an instant is, in words.
var Distance = distance
