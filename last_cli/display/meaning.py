"""What the numbers of a method that changes kept units mean, by their JSON keys."""

DIFFERENCE_MEANING = {
    "difference_hinf": "the same norm computed: guaranteed to lie between these two; a worst case, no prediction",
    "h2_relative": "predictor: relative error of the layer's output for white inputs",
}
REFIT_MEANING = {
    "gain_bound": "guaranteed bound of the H-infinity norm of the difference, layer by layer",
    **DIFFERENCE_MEANING,
    "calibration_relative": "predictor, the best one: relative error of the layer's output on the calibration inputs",
    "readout_growth": "norm of the kept states' C over what it was; far above 1 it warns of cancelling errors",
}
TRUNCATION_MEANING = {
    "gain_bound": "guaranteed bound of the H-infinity norm of the difference: twice the sum of the truncated "
    "Hankel singular values, for each readout, with the rounding of what is stored",
    **DIFFERENCE_MEANING,
}
