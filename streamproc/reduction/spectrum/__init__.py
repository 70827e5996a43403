"""Camera frames of RIXS and IXS spectrometers become spectra."""
