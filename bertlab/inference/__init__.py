"""A trained model that labels texts, in PyTorch or ONNX Runtime."""
