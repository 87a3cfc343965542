class InterpolationMode: BILINEAR="bilinear"; NEAREST="nearest"
def rotate(*a, **k): raise NotImplementedError
def normalize(*a, **k): raise NotImplementedError
