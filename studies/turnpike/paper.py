"""The paper."""

PAPER = "Geshkovski, Large-time asymptotics in deep learning"
