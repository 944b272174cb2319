"""Architectures and layers, Keras 3 only: no ``tf.*`` here, so that they also train on other backends."""
